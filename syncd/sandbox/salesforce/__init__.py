"""A stand-in for Salesforce on loopback, over TLS because its clients require it.

    salesforce = Salesforce(seed=1)
    contact = salesforce.put("Contact", {"LastName": "Dunmere", "Email": "dunmere@amber-kilns-1.com"})
    salesforce.put("Task", {"TaskSubtype": "Call", "Status": "Completed", "WhoId": contact})

Server(salesforce, tls=Certificate().context) serves it alone, Sandbox(salesforce={}) with the others.
"""

from syncd.sandbox.salesforce.certificate import Certificate
from syncd.sandbox.salesforce.describe import sample
from syncd.sandbox.salesforce.org import CLIENT_ID, CLIENT_SECRET, USERNAME
from syncd.sandbox.salesforce.service import Salesforce

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "USERNAME", "Certificate", "Salesforce", "sample"]

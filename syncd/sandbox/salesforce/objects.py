"""The standard objects as text, one field per line. schema.py parses the lines.

Fields that syncd uses come from the Object Reference v67 (Summer '26). The others of Contact, Lead, Account, User,
Case and Opportunity give describe its usual size.
"""

# Objects that exist only with a feature, and the setting that enables it.
NEEDED_FOR = {
    "EmailMessage": "enhanced_email", "EmailMessageRelation": "enhanced_email",
    "TaskWhoRelation": "shared_activities", "VoiceCall": "voice_call",
    "PermissionSet": "permissions_readable", "PermissionSetAssignment": "permissions_readable",
}  # fmt: skip

# Relationships from parent to child: name, child object, the child's field.
CHILDREN: dict[str, tuple[tuple[str, str, str], ...]] = {
    "Task": (("TaskWhoRelations", "TaskWhoRelation", "TaskId"),),
    "EmailMessage": (("EmailMessageRelations", "EmailMessageRelation", "EmailMessageId"),),
    "Account": (
        ("Contacts", "Contact", "AccountId"), ("Tasks", "Task", "WhatId"), ("Emails", "EmailMessage", "RelatedToId"),
        ("Opportunities", "Opportunity", "AccountId"), ("Cases", "Case", "AccountId"),
    ),
    "Contact": (
        ("Tasks", "Task", "WhoId"), ("Cases", "Case", "ContactId"),
        ("EmailMessageRelations", "EmailMessageRelation", "RelationId"),
    ),
    "Lead": (("Tasks", "Task", "WhoId"), ("EmailMessageRelations", "EmailMessageRelation", "RelationId")),
    "Opportunity": (("Tasks", "Task", "WhatId"), ("Emails", "EmailMessage", "RelatedToId")),
    "Case": (("Tasks", "Task", "WhatId"), ("EmailMessages", "EmailMessage", "ParentId")),
    "PermissionSet": (("Assignments", "PermissionSetAssignment", "PermissionSetId"),),
}  # fmt: skip

TASK = """
WhoId reference to=Contact|Lead as=Who
WhatId reference to=Account|Opportunity|Case as=What
WhoCount int readonly if=shared_activities
WhatCount int readonly if=shared_activities
Subject combobox(255)
ActivityDate date
Status picklist required in=Not_Started|In_Progress|Completed|Waiting_on_someone_else|Deferred
Priority picklist required in=High|Normal|Low
IsHighPriority boolean readonly
OwnerId reference to=User|Group as=Owner required
Description textarea(32000)
Type picklist in=Call|Email|Meeting|Other
AccountId reference to=Account as=Account readonly
IsClosed boolean readonly
IsArchived boolean readonly
IsVisibleInSelfService boolean
CallDurationInSeconds int
CallType picklist in=Inbound|Internal|Outbound
CallDisposition string(255)
CallObject string(255)
ReminderDateTime datetime
IsReminderSet boolean
RecurrenceActivityId reference to=Task as=RecurrenceActivity readonly
IsRecurrence boolean
RecurrenceStartDateOnly date
RecurrenceEndDateOnly date
RecurrenceTimeZoneSidKey picklist
RecurrenceType picklist
RecurrenceInterval int
RecurrenceDayOfWeekMask int
RecurrenceDayOfMonth int
RecurrenceInstance picklist
RecurrenceMonthOfYear picklist
RecurrenceRegeneratedType picklist
TaskSubtype picklist in=Task|Email|ListEmail|Cadence|Call|LinkedIn
CompletedDateTime datetime readonly
"""

EMAIL_MESSAGE = """
ParentId reference to=Case as=Parent
ActivityId reference to=Task
CreatedByName string plain readonly
TextBody textarea(32000)
HtmlBody textarea(32000)
Headers textarea(32000)
Subject string(3000)
Name string(255) readonly
FromName string(1000)
FromAddress email(320)
FromId reference to=Contact|Lead|User
ValidatedFromAddress picklist
ToAddress string(4000)
CcAddress string(4000)
BccAddress string(4000)
Incoming boolean
HasAttachment boolean readonly
Status picklist required in=0|1|2|3|4|5
MessageDate datetime
ReplyToEmailMessageId reference to=EmailMessage as=ReplyToEmailMessage
IsExternallyVisible boolean
MessageIdentifier string(765)
ThreadIdentifier string(765)
IsClientManaged boolean
IsPrivateDraft boolean
RelatedToId reference to=Account|Opportunity|Case|Contact|Lead as=RelatedTo
IsTracked boolean if=tracking
IsOpened boolean if=tracking
FirstOpenedDate datetime if=tracking
LastOpenedDate datetime if=tracking
IsBounced boolean if=bounce_management
EmailTemplateId reference
AutomationType picklist in=AiAssisted|AiAutomated
Source picklist in=Migrated_Captured_Email|Migrated_Captured_Email_Header_Only
"""

PERSON = """
LastName string(80) required
FirstName string(40)
Salutation picklist in=Mr.|Ms.|Dr.|Prof.
Name string(121) required readonly
Title string(128)
Email email
Phone phone
MobilePhone phone
Fax phone
Description textarea(32000)
LeadSource picklist in=Web|Phone_Inquiry|Partner_Referral|Other
DoNotCall boolean
HasOptedOutOfEmail boolean
LastActivityDate date readonly
LastViewedDate datetime readonly
LastReferencedDate datetime readonly
EmailBouncedReason string(255)
EmailBouncedDate datetime
Jigsaw string(20)
PhotoUrl url readonly
IndividualId reference
"""

CONTACT = f"""
MasterRecordId reference to=Contact as=MasterRecord readonly
AccountId reference to=Account as=Account
IsPersonAccount boolean readonly if=person_accounts
{PERSON}
OwnerId reference to=User as=Owner required
ReportsToId reference to=Contact as=ReportsTo
Department string(80)
HomePhone phone
OtherPhone phone
AssistantName string(40)
AssistantPhone phone
Birthdate date
MailingStreet textarea(255)
MailingCity string(40)
MailingPostalCode string(20)
MailingCountry string(80)
MailingAddress address readonly
OtherStreet textarea(255)
OtherCity string(40)
OtherCountry string(80)
IsEmailBounced boolean readonly
"""

LEAD = f"""
MasterRecordId reference to=Lead as=MasterRecord readonly
{PERSON}
OwnerId reference to=User|Group as=Owner required
Company string(255) required
Website url
Industry picklist in=Agriculture|Machinery|Manufacturing|Other
Rating picklist in=Hot|Warm|Cold
Status picklist required in=Open_-_Not_Contacted|Working_-_Contacted|Closed_-_Converted|Closed_-_Not_Converted
Street textarea(255)
City string(40)
PostalCode string(20)
Country string(80)
Address address readonly
AnnualRevenue currency
NumberOfEmployees int
IsConverted boolean readonly
ConvertedDate date readonly
ConvertedAccountId reference to=Account as=ConvertedAccount readonly
ConvertedContactId reference to=Contact as=ConvertedContact readonly
ConvertedOpportunityId reference to=Opportunity as=ConvertedOpportunity readonly
IsUnreadByOwner boolean
"""

ACCOUNT = """
MasterRecordId reference to=Account as=MasterRecord readonly
Name string(255) required
Type picklist in=Prospect|Customer_-_Direct|Partner|Other
ParentId reference to=Account as=Parent
Website url
Phone phone
Fax phone
AccountNumber string(40)
Site string(80)
Industry picklist in=Agriculture|Machinery|Manufacturing|Other
AnnualRevenue currency
NumberOfEmployees int
Ownership picklist in=Public|Private|Subsidiary|Other
TickerSymbol string(20)
Description textarea(32000)
Rating picklist in=Hot|Warm|Cold
OwnerId reference to=User as=Owner required
BillingStreet textarea(255)
BillingCity string(40)
BillingPostalCode string(20)
BillingCountry string(80)
BillingAddress address readonly
ShippingStreet textarea(255)
ShippingCity string(40)
ShippingPostalCode string(20)
ShippingCountry string(80)
ShippingAddress address readonly
AccountSource picklist in=Web|Phone_Inquiry|Partner_Referral|Other
LastActivityDate date readonly
LastViewedDate datetime readonly
LastReferencedDate datetime readonly
PhotoUrl url readonly
Jigsaw string(20)
SicDesc string(80)
IsPersonAccount boolean readonly if=person_accounts
PersonContactId reference to=Contact as=PersonContact readonly if=person_accounts
PersonEmail email if=person_accounts
"""

USER = """
- IsDeleted
Username string(80) required
LastName string(80) required
FirstName string(40)
Name string(121) required readonly
Alias string(8) required
Email email(128) required
IsActive boolean
UserType picklist readonly in=Standard|PowerPartner|CspLitePortal|Guest|AutomatedProcess|CloudIntegrationUser
ProfileId reference to=Profile as=Profile required
ManagerId reference to=User as=Manager
CompanyName string(80)
Division string(80)
Department string(80)
Title string(80)
Phone phone
MobilePhone phone
Extension phone
Street textarea(255)
City string(40)
Country string(80)
Address address readonly
TimeZoneSidKey picklist required
LocaleSidKey picklist required
EmailEncodingKey picklist required
LanguageLocaleKey picklist required
EmployeeNumber string(20)
LastLoginDate datetime readonly
FederationIdentifier string(512)
AboutMe textarea(1000)
FullPhotoUrl url readonly
SmallPhotoUrl url readonly
"""

GROUP = """
- IsDeleted
Name string(40) required
DeveloperName string(80)
RelatedId reference to=User as=Related readonly
Type picklist required in=Regular|Queue|Role|Organization|AllCustomerPortal
Email email
OwnerId reference to=Organization|User as=Owner
DoesSendEmailToMembers boolean
DoesIncludeBosses boolean
Description textarea(1000)
"""

OPPORTUNITY = """
AccountId reference to=Account as=Account
Name string(120) required
Description textarea(32000)
StageName picklist required in=Prospecting|Qualification|Closed_Won|Closed_Lost
Amount currency
Probability percent
CloseDate date required
Type picklist in=New_Business|Existing_Business
NextStep string(255)
LeadSource picklist in=Web|Phone_Inquiry|Partner_Referral|Other
IsClosed boolean readonly
IsWon boolean readonly
ForecastCategoryName picklist
OwnerId reference to=User as=Owner required
ContactId reference to=Contact as=Contact
LastActivityDate date readonly
"""

CASE = """
CaseNumber string(30) required readonly
ContactId reference to=Contact as=Contact
AccountId reference to=Account as=Account
ParentId reference to=Case as=Parent
SuppliedName string(80)
SuppliedEmail email
SuppliedPhone phone
SuppliedCompany string(80)
Type picklist in=Mechanical|Electrical|Other
Status picklist required in=New|Working|Escalated|Closed
Reason picklist in=Installation|Performance|Other
Origin picklist in=Phone|Email|Web
Subject string(255)
Priority picklist in=High|Medium|Low
Description textarea(32000)
IsClosed boolean readonly
ClosedDate datetime readonly
IsEscalated boolean
OwnerId reference to=User|Group as=Owner required
"""

VOICE_CALL = """
OwnerId reference to=User|Group as=Owner required
ActivityId reference to=Task as=Activity
RelatedRecordId reference to=Account|Contact|Lead|Case|Opportunity as=RelatedRecord
UserId reference to=User as=User
CallStartDateTime datetime required
CallEndDateTime datetime required
CallConnectDateTime datetime
CallAcceptDateTime datetime
CallDurationInSeconds int
CallType picklist required in=Bridge|Coach|Inbound|Internal|Outbound|Transfer
CallDisposition string(255)
CallOrigin picklist
FromPhoneNumber phone
ToPhoneNumber phone
VendorType picklist
VendorCallKey string(255)
IsRecorded boolean
Description textarea(1000)
"""

TASK_WHO_RELATION = """
RelationId reference to=Contact|Lead as=Relation
TaskId reference to=Task as=Task
AccountId reference to=Account as=Account
Type string(50)
"""

EMAIL_MESSAGE_RELATION = """
EmailMessageId reference to=EmailMessage as=EmailMessage required
RelationId reference to=Contact|Lead|User as=Relation
RelationType picklist required in=ToAddress|CcAddress|BccAddress|FromAddress|OtherAddress
RelationAddress string(320)
RelationObjectType picklist in=Contact|Lead|User readonly
"""

ORGANIZATION = """
- IsDeleted
Name string(80) required
Division string(80)
Country string(80)
PrimaryContact string(80)
DefaultLocaleSidKey picklist required
LanguageLocaleKey picklist required
TimeZoneSidKey picklist
OrganizationType picklist readonly in=Developer_Edition|Enterprise_Edition|Unlimited_Edition
InstanceName string(5) readonly
IsSandbox boolean readonly
NamespacePrefix string(15) readonly
"""

PROFILE = """
- IsDeleted
Name string(255) required
UserType picklist readonly in=Standard
Description textarea(255)
PermissionsApiEnabled boolean
PermissionsViewAllData boolean
PermissionsModifyAllData boolean
"""

PERMISSION_SET = """
- IsDeleted
Name string(80) required
Label string(80) required
Description textarea(255)
IsOwnedByProfile boolean readonly
ProfileId reference to=Profile as=Profile
PermissionsApiEnabled boolean
PermissionsViewAllData boolean
PermissionsModifyAllData boolean
"""

PERMISSION_SET_ASSIGNMENT = """
- IsDeleted CreatedDate CreatedById LastModifiedDate LastModifiedById
AssigneeId reference to=User as=Assignee required
PermissionSetId reference to=PermissionSet as=PermissionSet
PermissionSetGroupId reference
IsActive boolean
"""

LINES = {
    "Task": TASK, "EmailMessage": EMAIL_MESSAGE, "TaskWhoRelation": TASK_WHO_RELATION,
    "EmailMessageRelation": EMAIL_MESSAGE_RELATION, "Contact": CONTACT, "Lead": LEAD, "Account": ACCOUNT,
    "User": USER, "Group": GROUP, "Opportunity": OPPORTUNITY, "Case": CASE, "VoiceCall": VOICE_CALL,
    "PermissionSet": PERMISSION_SET, "PermissionSetAssignment": PERMISSION_SET_ASSIGNMENT,
    "Organization": ORGANIZATION, "Profile": PROFILE,
}  # fmt: skip

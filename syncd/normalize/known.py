"""Know domains and addresses that mean the same for every team. Pure, with bounded caches.

Each list is short: it has what real records showed, gathered 2026-11. The free-mail providers are a package's.
`rules.company_domains`, `rules.own_domains` and `rules.automated` overrule the lists.
"""

import re
from functools import lru_cache

from syncd.addresses import REMEMBERED, domain_of, is_free_mail, registrable, within

# A company's page there says nothing about the company's own domain. Each with all hosts below it. Tenants' own names
# at a site builder (acme.github.io, acme.wixsite.com) are on the public suffix list and count as domains.
PLATFORMS = frozenset(
    """
    linkedin.com lnkd.in facebook.com fb.com fb.me instagram.com x.com twitter.com t.co threads.net tiktok.com
    youtube.com youtu.be vimeo.com twitch.tv pinterest.com reddit.com tumblr.com medium.com substack.com snapchat.com
    bsky.app discord.com discord.gg whatsapp.com wa.me t.me telegram.me xing.com vk.com weibo.com line.me
    behance.net dribbble.com github.com gitlab.com soundcloud.com
    sites.google.com docs.google.com drive.google.com maps.google.com plus.google.com play.google.com g.page g.co
    goo.gl forms.gle business.site apps.apple.com itunes.apple.com
    linktr.ee beacons.ai bio.link about.me carrd.co calendly.com eventbrite.com meetup.com
    bit.ly tinyurl.com ow.ly buff.ly rb.gy is.gd cutt.ly rebrand.ly t.ly
    yelp.com yellowpages.com foursquare.com tripadvisor.com trustpilot.com glassdoor.com indeed.com wikipedia.org
    crunchbase.com zoominfo.com rocketreach.co dnb.com clutch.co g2.com capterra.com producthunt.com angel.co
    wellfound.com kompass.com europages.com etsy.com manta.com bbb.org opencorporates.com northdata.com northdata.de
    gelbeseiten.de dasoertliche.de 11880.com pagesjaunes.fr societe.com paginegialle.it paginasamarillas.es
    """.split()
)

# Platforms with a domain for each country, by its first label: yelp.de, tripadvisor.co.uk.
COUNTRIES = frozenset(
    "linkedin facebook pinterest yelp yellowpages tripadvisor trustpilot glassdoor indeed etsy kompass".split()
)

# Site builders that are missing from the public suffix list. A host below one is a customer's, and the name itself is
# the builder's own domain.
BUILDERS = frozenset(
    """
    wordpress.com squarespace.com weebly.com jimdo.com jimdosite.com jimdofree.com godaddysites.com strikingly.com
    mystrikingly.com site123.me webnode.com webador.com ueniweb.com negocio.site hubspotpagebuilder.com odoo.com
    wix.com typepad.com livejournal.com yolasite.com webs.com
    """.split()
)
_SEARCHES = re.compile(
    r"(?:https?://)?(?:www\.)?google\.[a-z]{2,3}(?:\.[a-z]{2})?/(?:maps|search|url)\b", re.IGNORECASE
)

# Mail providers of millions of strangers, by the first label of a domain on the free-mail list: yahoo.com, yahoo.co.uk.
# The list's other domains belong to firms too, e.g. rogers.com and comcast.net.
MASS = frozenset(
    """
    gmail googlemail outlook hotmail live msn windowslive yahoo ymail rocketmail icloud me mac aol aim gmx web mail
    email inbox bk list proton protonmail pm fastmail hushmail qq foxmail 163 126 139 189 yeah sina sohu naver hanmail
    yandex ya rambler rediffmail
    """.split()
)

# Where people send a copy so that their CRM logs it. HubSpot's addresses for BCC and forwarding, by data centre, and
# its shared inboxes are from settings pages and a published suppression list. Salesforce's for Email to Salesforce
# (`…@….in.salesforce.com`, `…@….na35.le.salesforce.com`) are from organisations' published code. `case` is
# Email-to-Case, `apex` an email service, and pipedrivemail.com Pipedrive's Smart BCC.
MAILBOXES = frozenset(
    {f"{use}.{place}hubspot.com" for use in ("bcc", "forward") for place in ("", "eu1.", "na2.", "na3.", "ap1.")}
    | {f"{use}.salesforce.com" for use in ("in", "le", "case", "apex")}
    | {"hs-inbox.com", "pipedrivemail.com"}
)

# The part before the @ of senders that are programs: noreply@, billing-no-reply@, mailer-daemon@, notifications@.
_SYSTEM = re.compile(
    r"(?:.*[._-])?(?:(?:no|never|dont|do[._-]?not)[._-]?repl(?:y|ies)|notifications?)(?:[._-]?\d+)?"
    r"|(?:no|do[._-]?not)[._-]?reply[._-].*"
    r"|mailer[._-]?daemon|postmaster|bounces?(?:[._-].*)?|auto[._-]?(?:reply|responder)"
    r"|nicht[._-]?antworten|ne[._-]?pas[._-]?repondre|no[._-]?(?:responder|responda)|nao[._-]?responda"
)


def is_platform(host: str) -> bool:
    """Tell whether `host` is a platform's, on which companies have pages."""
    if within(host, PLATFORMS):
        return True
    domain = registrable(host) or host
    return domain.partition(".")[0] in COUNTRIES or (domain in BUILDERS and host != domain)


def is_search(url: str) -> bool:
    """Tell whether a URL is a place on Google Maps, or a search: a company's page, and not Google's domain."""
    return _SEARCHES.match(url) is not None


def is_mass_provider(host: str) -> bool:
    """Tell whether `host` is a provider's at which millions of strangers have mail."""
    return is_free_mail(host) and (registrable(host) or host).partition(".")[0] in MASS


@lru_cache(maxsize=REMEMBERED)
def is_mailbox(address: str) -> bool:
    """Tell whether a clean address is a CRM's, to which people send copies."""
    return within(domain_of(address), MAILBOXES)


@lru_cache(maxsize=REMEMBERED)
def is_system_sender(address: str) -> bool:
    """Tell whether a clean address is a program's."""
    return _SYSTEM.fullmatch(address.rpartition("@")[0].partition("+")[0]) is not None

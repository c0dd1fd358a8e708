"""The provider sandbox: one small server that speaks the providers' APIs and enforces their limits.

Run it with ``python -m local.sandbox --port 8080``. What a provider is, its OpenAPI description in ``local/contracts/``
says: every request is counted against the account's limit, checked, recorded, and answered by the examples there.
Each is served at its own path, and at ``/<provider>`` before it, where several have the same one.

Control, all JSON, at run time, for programs of this machine and for no page of others (``local.sandbox.guard``):

=======  ====================  =========================================================================================
GET      /                     the page, where it was started for a stack: ``local.page``
GET      /_sandbox/health      ``{"status": "ok"}``
GET      /_sandbox/requests    ``{"requests": [...]}``; query: provider, account, type, after (a ``seq``)
DELETE   /_sandbox/requests    forget every request
GET      /_sandbox/summary     per provider: requests, accepted, repeats, updates, statuses; plus each account's limit
POST     /_sandbox/faults      add a :class:`local.sandbox.faults.Fault`; answers it with its ``id``
DELETE   /_sandbox/faults      remove all faults
POST     /_sandbox/tokens      ``{"provider", "account", "accept": [...], "revoke": [...]}``
DELETE   /_sandbox/tokens      back to the sandbox's own tokens
POST     /_sandbox/limits      a :class:`local.sandbox.limits.Limit` for a provider, or for one of its accounts
DELETE   /_sandbox/limits      back to the providers' own limits
=======  ====================  =========================================================================================
"""

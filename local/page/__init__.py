"""The page at the sandbox's address: the way of events through the stack on this machine, as it happens.

=====  ===============  ===============================================================================================
GET    /                the page; what it consists of is under ``/_page/site/``
GET    /_page/stream    server-sent events: all that is on the board at first, then what changes (``board.Board``)
GET    /_page/samples   ``{"samples": [{"name", "text"}]}``: what the files of ``events/`` hold
POST   /_page/preview   ``{"text"}`` → ``{"errors", "requests"}``: what is wrong, or the request for each destination
POST   /_page/send      a :class:`local.page.send.Order` → ``{"way", "sent", "answer"}``
POST   /_page/trouble   ``{"provider", "kind"}``: a provider misbehaves (``trouble.KINDS``), or is ``normal`` again
=====  ===============  ===============================================================================================

Nothing of the stack is read while nobody looks, and once a second for all who do.
"""

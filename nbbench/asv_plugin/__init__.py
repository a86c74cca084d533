"""nbbench's asv plugin; all that touches asv's internals lives in this package.

asv imports it because asv.conf.json names `.nbbench.asv_plugin`. Importing it defines the
environment type `nbbench` (measure/asv_environment.py), the hooks into asv's commands
(measure/asv_hooks.py) and the publisher (publisher.py).
"""


def setup() -> None:
    """asv's hook, called once after the import: register the classes, refresh the subject."""
    from nbbench.asv_plugin import publisher  # noqa: F401 -- asv finds its class among OutputPublisher's
    from nbbench.measure import asv_hooks

    asv_hooks.install()

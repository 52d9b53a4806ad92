"""The errors of the standard protocols, in a room that all of them may import."""


class InferenceError(Exception):
    """The request breaks the protocol."""


class UnknownModelError(Exception):
    """There is no model of this name."""


class UnsupportedError(Exception):
    """The request asks for a part of the protocol that is not served."""

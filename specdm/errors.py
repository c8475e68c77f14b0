"""The exceptions that end a command in an orderly way."""


class UserError(Exception):
    """Something the user can mend; the message is one sentence: what, where, and how to mend it.

    The command line prints the message without a traceback and exits with status 1.
    """


class TrainingLost(UserError):
    """A loss or its gradient is not finite any more; other settings, such as a smaller learning rate, may train."""


class TrainingPaused(Exception):
    """Training saved its state before its end; the same command continues it (exit status 75)."""

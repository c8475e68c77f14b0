"""The exceptions that end a command in an orderly way."""

PAUSED = 75  # exit status that means: saved, the same command goes on


class UserError(Exception):
    """Something the user can mend; the message is one sentence: what, where, and how to mend it.

    The command line prints the message without a traceback and exits with status 1.
    """


class TrainingLost(UserError):
    """A loss or its gradient is not finite any more; other settings, such as a smaller learning rate, may train."""


class Paused(Exception):
    """What was done so far is saved, as was asked for; the same command goes on (exit status 75)."""

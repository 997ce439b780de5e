# SPDX-License-Identifier: Apache-2.0
"""The errors that tell a user what to change.

Their text has one form: what is wrong (value, where) - what is allowed - how
to fix it. Programs print it as it is and exit with the error's `exit_code`.
Any other exception is a defect of this package.
"""


class UserError(ValueError):
    """Something that the user can put right; never a defect of the package."""

    exit_code = 1


class ConfigError(UserError):
    """A config, flag or data set description that cannot be used."""

    exit_code = 2


class DataError(UserError):
    """A record, image, label or annotation that cannot be used."""

    exit_code = 3


class CheckpointError(UserError):
    """A checkpoint or model folder that cannot be read, matched or written."""

    exit_code = 4


class TrainingError(UserError):
    """Training that cannot go on, for example a loss that is not a number."""

    exit_code = 5


class ExportError(UserError):
    """A SavedModel that cannot be written, read or trusted."""

    exit_code = 6


class InstallError(UserError):
    """A package that is missing, or another package of the same name."""

    exit_code = 7

# SPDX-License-Identifier: Apache-2.0
"""Errors that users can fix, with an exit code for each kind.

Their text states what is wrong (value, where), what is allowed and how to fix
it. Programs print it as it is and exit with the error's `exit_code`. Any other
exception is a defect of this package.
"""


class UserError(ValueError):
    """An error that the user can fix; never a defect of the package."""

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
    """Training that cannot continue, for example a loss that is not finite."""

    exit_code = 5


class ExportError(UserError):
    """A SavedModel that cannot be written, read or verified."""

    exit_code = 6


class InstallError(UserError):
    """A package that is missing, or another package of the same name."""

    exit_code = 7


class WorkerError(TrainingError):
    """Another worker of the run is gone; the same command continues it."""

    exit_code = 75

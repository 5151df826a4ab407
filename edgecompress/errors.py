"""Every error that edgecompress raises on purpose, and the exit code each gives the command line.

EdgecompressError
├── InputError            exit 2: what was given cannot be used; nothing was written
│   ├── RecipeError       a recipe or an option is wrong (all problems at once)
│   ├── SourceError       a teacher or model folder cannot be loaded
│   ├── ArchitectureError a model that the axis tables do not know, or a cut that it does not allow
│   ├── CorpusError       text that is missing, empty or wrongly encoded
│   ├── VocabularyError   a vocabulary selection that cannot be made
│   ├── TaskDataError     labelled examples that cannot be read or do not fit together
│   ├── ArtifactError     an exported folder that is incomplete, changed or foreign
│   ├── MissingExtraError an optional dependency that is not installed
│   └── OutputError       a place that cannot be written (exists, read-only, full)
├── CheckError            exit 1: the work was done and its result failed the proof
└── StageError            exit 1: the process of a stage ended before its work
"""


class EdgecompressError(Exception):
    """Root of the tree. The message is one line: the value, what is allowed, the next step."""

    exit_code = 1


class InputError(EdgecompressError):
    """What the user gave cannot be used; nothing was written."""

    exit_code = 2


class RecipeError(InputError):
    """A recipe or an option is wrong."""


class SourceError(InputError):
    """A teacher or model folder cannot be loaded."""


class ArchitectureError(InputError):
    """The axis tables do not know this model, or it does not allow this cut."""


class CorpusError(InputError):
    """Text that is missing, empty or wrongly encoded."""


class VocabularyError(InputError):
    """A vocabulary selection that cannot be made."""


class TaskDataError(InputError):
    """Labelled examples that cannot be read or do not fit together."""


class ArtifactError(InputError):
    """An exported folder that is incomplete, changed or foreign."""


class MissingExtraError(InputError):
    """An optional dependency that is not installed."""


class OutputError(InputError):
    """A place that cannot be written."""


class CheckError(EdgecompressError):
    """A result that failed its proof (parity, agreement, accuracy)."""


class StageError(EdgecompressError):
    """The process of a stage ended before its work."""

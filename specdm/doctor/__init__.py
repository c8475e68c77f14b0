"""What `specdm doctor` looks at, a module each, and what `specdm versions` writes down."""

from specdm.doctor.examination import as_json, examine, in_words, is_complete
from specdm.doctor.versions import versions

__all__ = ["as_json", "examine", "in_words", "is_complete", "versions"]

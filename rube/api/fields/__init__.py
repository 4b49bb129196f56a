"""The fields of messages, whatever their type: paths that name them, their values, and what a merge does with them.

Pure functions on descriptors. No field of a particular type is known here.
"""

from __future__ import annotations

from rube.api.fields.merging import merge_fields
from rube.api.fields.paths import PATHS_MAX, FieldPath, copy_field, format_key, parse_path, remove_field
from rube.api.fields.values import Values, field_values

__all__ = [
    "PATHS_MAX",
    "FieldPath",
    "Values",
    "copy_field",
    "field_values",
    "format_key",
    "merge_fields",
    "parse_path",
    "remove_field",
]

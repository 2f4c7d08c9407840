//! The YAML form of a profile, and how one inherits another.

//! The mechanisms of the kernel a zone is made of, one file a concern.

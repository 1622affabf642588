//! Pure scheduling.

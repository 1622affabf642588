//! Pure reconcilers.

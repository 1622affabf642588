//! What the outside may ask.

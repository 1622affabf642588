//! The scheduler driver.

//! The agent driver.

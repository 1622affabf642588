//! The controllers driver.

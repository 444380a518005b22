//! Routes for whoever runs the server: health, metrics, and what the server is doing.

pub mod activity;
pub mod console;
pub mod health;
pub mod history;
pub mod metrics;

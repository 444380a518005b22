//! The protocol in a simulated world: docs/TESTING.md says how to run it longer.

mod cases;
mod chance;
mod checker;
mod desk;
mod leases;
mod network;
mod server;
mod simulation;
mod world;

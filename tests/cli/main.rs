//! The command line from outside: every subcommand, exit code and promise about stdout and stderr.
#![cfg(all(unix, feature = "cli"))]
#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_input;
mod one_liners;
mod pipelines;
mod reference;
mod signals;
mod state;
mod tool;

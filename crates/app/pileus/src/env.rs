//! Every environment variable that `pileus` reads, in one place.
//!
//! `NO_COLOR`, `CLICOLOR_FORCE` and `TERM` are honoured too, by the library that writes to the terminal.

/// Where the engine keeps its state.
pub(crate) const HOME: &str = "PILEUS_HOME";
/// The port of the AWS API on loopback.
pub(crate) const PORT: &str = "PILEUS_PORT";
/// The port on loopback where load balancers' port 80 is reached.
pub(crate) const EDGE_PORT: &str = "PILEUS_EDGE_PORT";
/// How many times faster than the wall the engine's clock runs.
pub(crate) const TIME_SCALE: &str = "PILEUS_TIME_SCALE";
/// Whether only credentials that the engine has issued count, and what would fail at AWS fails.
pub(crate) const STRICT: &str = "PILEUS_STRICT";
/// Where image builds keep what they made, to share it between homes; else in the home.
pub(crate) const BUILD_CACHE: &str = "PILEUS_BUILD_CACHE";
/// What the engine and the balancer log: a level, or `tracing`'s filter directives.
pub(crate) const LOG: &str = "PILEUS_LOG";

/// What is logged where nothing else is said.
pub(crate) const DEFAULT_LOG: &str = "info";

/// For `pileus --help`.
pub(crate) const HELP: &str = "\
Environment:
  PILEUS_HOME         where the engine keeps its state
  PILEUS_PORT         port of the AWS API on loopback (4566)
  PILEUS_EDGE_PORT    port on loopback where load balancers are reached (80, else 8080)
  PILEUS_TIME_SCALE   how many times faster than the wall the engine's clock runs (1)
  PILEUS_STRICT       true: only credentials that the engine has issued count, and what would fail at AWS fails
  PILEUS_BUILD_CACHE  where image builds keep what they made (in the home)
  PILEUS_LOG          what the engine logs: error, warn, info, debug, trace, or directives (info)
  NO_COLOR            no colours";

//! Each transform on small layers.

mod labels;
mod paths;
mod release;

use super::testing::{Outcome, base, options, run};
use super::*;

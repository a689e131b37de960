//! tmp
use crate::{Observation, Plan, Scenario};
pub fn html(_s: &Scenario, _p: &Plan, _o: &Observation, _c: &str) -> String {
    String::new()
}

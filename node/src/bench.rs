//! bench
use crate::cli::{BenchArgs, Context, error::CommandError};
pub(crate) fn run(_context: &Context, _args: &BenchArgs) -> Result<(), CommandError> {
    Err(CommandError::failure("not measured yet"))
}

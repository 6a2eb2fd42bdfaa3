//! The program: runs one command and ends with its exit code.

fn main() -> std::process::ExitCode {
    zoom_qos_proxy::cli::run()
}

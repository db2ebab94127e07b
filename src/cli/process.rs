//! What a process has to do with its parent, its signals and its host.

use std::io::Read as _;

/// Ready when the process is asked to stop: Ctrl-C, or SIGTERM.
pub(super) async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// Ends this process when its parent ends, however that happens. The kernel's death signal reaches a stopped process
/// too; the end of standard input, which the parent holds open, works on every system and closes the race at the start.
pub(super) fn end_with_parent(parent: Option<u32>) {
    let Some(parent) = parent else { return };
    #[cfg(target_os = "linux")]
    {
        // If it fails, the end of standard input still does it.
        let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
        if std::os::unix::process::parent_id() != parent {
            std::process::exit(i32::from(crate::error::exit::STOPPED));
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = parent;
    std::thread::spawn(|| {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
        std::process::exit(i32::from(crate::error::exit::STOPPED));
    });
}

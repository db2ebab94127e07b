//! A network between a worker and its coordinator that does what a test wants, at a byte that the test names.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use crate::process::WAIT_MAX;

/// Passes connections on.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// What the worker says and what the coordinator hears instead; equally long.
    replace: Option<(Vec<u8>, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    /// Bytes of workers that may still pass; after them everything of theirs is held back. `None`: no limit.
    left: Option<usize>,
    held: bool,
    is_over: bool,
    sockets: Vec<TcpStream>,
    /// What passed, if that is wanted, of each side by itself.
    passed: Option<[Vec<u8>; 2]>,
}

impl Proxy {
    /// A proxy that holds back what workers say after the first `bytes`, until told to let it pass.
    pub(crate) fn holding(coordinator: &str, bytes: usize) -> Proxy {
        Proxy::new(coordinator, State { left: Some(bytes), ..State::default() }, None)
    }

    /// A proxy that changes what workers say.
    pub(crate) fn replacing(
        coordinator: &str,
        said: impl AsRef<[u8]>,
        heard: impl AsRef<[u8]>,
    ) -> Proxy {
        let (said, heard) = (said.as_ref(), heard.as_ref());
        assert_eq!(said.len(), heard.len());
        let replace = (said.to_vec(), heard.to_vec());
        Proxy::new(coordinator, State::default(), Some(replace))
    }

    /// A proxy that keeps what passes.
    pub(crate) fn listening(coordinator: &str) -> Proxy {
        Proxy::new(
            coordinator,
            State { passed: Some(Default::default()), ..State::default() },
            None,
        )
    }

    /// What passed: of workers, and of the coordinator.
    pub(crate) fn passed(&self) -> [Vec<u8>; 2] {
        self.shared.state.lock().unwrap().passed.clone().unwrap()
    }

    fn new(coordinator: &str, state: State, replace: Option<(Vec<u8>, Vec<u8>)>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared =
            Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), replace });
        let accept = {
            let (shared, coordinator) = (shared.clone(), coordinator.to_string());
            std::thread::spawn(move || accept(&listener, &coordinator, &shared))
        };
        Proxy { address, shared, threads: vec![accept] }
    }

    /// Where workers find it.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Waits until something is held back.
    pub(crate) fn wait_held(&self) {
        let state = self.shared.state.lock().unwrap();
        let wait = self.shared.changed.wait_timeout_while(state, WAIT_MAX, |state| !state.held);
        assert!(!wait.unwrap().1.timed_out(), "the workers never said as much");
    }

    /// Lets everything pass from now on.
    pub(crate) fn release(&self) {
        self.shared.state.lock().unwrap().left = None;
        self.shared.changed.notify_all();
    }

    /// Breaks the connections there are, without a word to either side; later ones pass.
    pub(crate) fn cut(&self) {
        for socket in std::mem::take(&mut self.shared.state.lock().unwrap().sockets) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.release();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap().is_over = true;
        self.cut();
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, coordinator: &str, shared: &Arc<Shared>) {
    let mut pumps = Vec::new();
    for worker in listener.incoming() {
        let Ok(worker) = worker else { break };
        let coordinator = TcpStream::connect(coordinator);
        let mut state = shared.state.lock().unwrap();
        if state.is_over {
            break;
        }
        let Ok(coordinator) = coordinator else { continue };
        let clone = |socket: &TcpStream| socket.try_clone().unwrap();
        state.sockets.extend([clone(&worker), clone(&coordinator)]);
        let (up, down) = ((clone(&worker), clone(&coordinator)), (coordinator, worker));
        let (of_worker, of_coordinator) = (shared.clone(), shared.clone());
        pumps.push(std::thread::spawn(move || pump(up, |bytes| of_worker.pass(bytes))));
        pumps.push(std::thread::spawn(move || {
            pump(down, |bytes| of_coordinator.keep(1, bytes));
        }));
    }
    for pump in pumps {
        let _ = pump.join();
    }
}

/// Moves bytes until one side closes; some are held back by `pass`, or changed.
fn pump((mut from, mut to): (TcpStream, TcpStream), mut pass: impl FnMut(&mut [u8])) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let bytes = &mut buffer[..count];
        pass(bytes);
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

impl Shared {
    fn keep(&self, side: usize, bytes: &[u8]) {
        if let Some(passed) = &mut self.state.lock().unwrap().passed {
            passed[side].extend_from_slice(bytes);
        }
    }

    /// Returns when these bytes of a worker may pass.
    fn pass(&self, bytes: &mut [u8]) {
        self.keep(0, bytes);
        if let Some((said, heard)) = &self.replace {
            while let Some(at) = bytes.windows(said.len()).position(|window| window == &said[..]) {
                bytes[at..at + heard.len()].copy_from_slice(heard);
            }
        }
        let mut state = self.state.lock().unwrap();
        loop {
            match &mut state.left {
                None => return,
                Some(left) if *left >= bytes.len() => {
                    *left -= bytes.len();
                    return;
                }
                Some(_) => {
                    state.held = true;
                    self.changed.notify_all();
                    state = self.changed.wait(state).unwrap();
                }
            }
        }
    }
}

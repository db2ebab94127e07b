//! Connections to the other workers of a run, as long as one membership lasts: the shell around [`Links`], which decides which
//! there are. Carries messages and decides nothing about them. All are encrypted, and both sides prove to have the key that the
//! coordinator's roster names; nothing else listens or dials.

mod dial;
mod link;
mod links;
mod listen;
mod outbox;
mod post;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use lockstep_net::{Acceptor, Admitted, Connector, Incoming, PeerKey, Pin, Stream};
use lockstep_proto::frame::{Limits, Listens, Member, PeerMessage};
use lockstep_proto::ids::WorkerId;
use lockstep_proto::panics;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{self, AbortHandle, JoinError, JoinSet};
use tokio_stream::StreamExt as _;

use crate::WorkerError;
use link::{Codes, Ear, Heard, News};
use links::{Link, Links, Output};
pub use listen::{ADDRESSES_MAX, PeerOptions};
use outbox::Outbox;
pub(crate) use post::Post;

/// Most messages of others that wait to be looked at.
const INBOX_MESSAGES_MAX: usize = 16;

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// There is a connection with a member.
    Up(WorkerId),
    /// There is none, or none any more, and why.
    Down(WorkerId, String),
    /// A member, or this worker itself, said this: a message that was checked.
    Said(WorkerId, PeerMessage),
    /// A member said what cannot be said. It is not listened to any more.
    Broken(WorkerId, String),
}

/// A connection, or a try at one.
struct Live {
    task: AbortHandle,
    /// Has it go on.
    start: Option<oneshot::Sender<(WorkerId, Arc<Outbox>)>>,
}

/// See the module's text.
pub(crate) struct Peers {
    me: WorkerId,
    key: PeerKey,
    links: Links,
    admitted: Admitted,
    incoming: Option<Incoming>,
    live: HashMap<Link, Live>,
    /// Each ends with why its connection did.
    tasks: JoinSet<String>,
    names: HashMap<task::Id, Link>,
    news_tx: mpsc::Sender<(Link, News)>,
    news: mpsc::Receiver<(Link, News)>,
    /// Accepted, and not yet begun with.
    accepted: HashMap<Link, Stream>,
    post: Post,
    limits: Arc<Limits>,
    codes: Codes,
    events: VecDeque<Event>,
}

impl Peers {
    /// Listens for others, and what the coordinator is to be told of that.
    ///
    /// # Errors
    /// If the address that was asked for cannot be listened at.
    pub(crate) async fn begin(
        me: WorkerId,
        limits: Limits,
        options: &PeerOptions,
        own: std::net::IpAddr,
    ) -> Result<(Peers, Listens), WorkerError> {
        let failed = |error: String| WorkerError::Threads(error);
        let key = PeerKey::generate().map_err(|error| failed(error.to_string()))?;
        let admitted = Admitted::default();
        let acceptor = Acceptor::between_peers(&key, admitted.clone()).map_err(failed)?;
        let listener = options.bind(own).await?;
        let listens = options.listens(key.pin(), listener.as_ref());
        // Whoever could not come tries again.
        let incoming = listener.map(|listener| Incoming::new(listener, Some(acceptor), |_| {}));
        let (news_tx, news) = mpsc::channel(INBOX_MESSAGES_MAX);
        let peers = Peers {
            me,
            links: Links::new(me, listens.port > 0),
            key,
            admitted,
            incoming,
            live: HashMap::new(),
            tasks: JoinSet::new(),
            names: HashMap::new(),
            news_tx,
            news,
            accepted: HashMap::new(),
            post: Post::new(me),
            limits: Arc::new(limits),
            codes: Codes::default(),
            events: VecDeque::new(),
        };
        Ok((peers, listens))
    }

    /// Where messages to others are put, from any thread.
    pub(crate) fn post(&self) -> Post {
        self.post.clone()
    }

    /// The members from now on, of whom this worker may be one.
    pub(crate) fn set_roster(&mut self, members: Vec<Member>) {
        self.links.set_roster(Instant::now(), members);
        self.admitted.set(self.links.pins());
    }

    /// Whether gradients are coded from now on.
    pub(crate) fn code(&self, is_on: bool) {
        self.codes.set(is_on);
    }

    /// The next thing that happens. Nothing is lost if this is dropped before it is ready.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            self.carry();
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            let timeout = self.links.poll_timeout();
            tokio::select! {
                Some((link, news)) = self.news.recv() => self.learn(link, news),
                message = self.post.own() => {
                    self.events.push_back(Event::Said(self.me, message));
                }
                Some(ended) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => {
                    self.end(ended);
                }
                Some(stream) = next_of(&mut self.incoming) => self.accept(stream),
                worker = self.post.overflow() => {
                    self.links.give_up(Instant::now(), worker, "it does not take what it is sent");
                }
                () = sleep_until(timeout), if timeout.is_some() => {
                    self.links.time_out(Instant::now());
                }
            }
        }
    }

    fn learn(&mut self, link: Link, news: News) {
        let now = Instant::now();
        match news {
            News::Met { is_dialed: true } => self.links.dialed(now, link),
            News::Met { is_dialed: false } => self.links.hear(now, link),
            // What somebody said who has been let go since.
            News::Said(..) if !self.live.contains_key(&link) => {}
            News::Said(worker, Heard::Message(message)) => {
                self.events.push_back(Event::Said(worker, message));
            }
            News::Said(worker, Heard::Broken(what)) => {
                self.links.shun(worker);
                self.post.close(worker);
                self.events.push_back(Event::Broken(worker, what));
            }
        }
    }

    fn end(&mut self, ended: Result<(task::Id, String), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |&(id, _)| id);
        let Some(link) = self.names.remove(&id) else { return };
        // It was let go, and its end is no news.
        if self.live.remove(&link).is_none() {
            return;
        }
        let why = match ended {
            Ok((_, why)) => why,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => format!("serving it failed: {}", panics::text(&*panic)),
                Err(error) => error.to_string(),
            },
        };
        self.links.end(Instant::now(), link, why);
    }

    fn accept(&mut self, stream: Stream) {
        let Some(pin) = stream.pin() else { return };
        let set = stream.keep_unsent_small();
        let Some(link) = self.links.accept(Instant::now(), pin) else { return };
        match set {
            Ok(()) => {
                // Its key is a member's.
                stream.watch().know();
                self.accepted.insert(link, stream);
            }
            Err(error) => self.links.end(Instant::now(), link, error.to_string()),
        }
    }

    /// Does all that is to be done about connections.
    fn carry(&mut self) {
        while let Some(output) = self.links.poll() {
            match output {
                Output::Dial(link, member) => self.dial(link, member),
                Output::Greet(link) => self.greet(link),
                Output::Start(link, worker) => self.start(link, worker),
                Output::Close(link) => {
                    self.accepted.remove(&link);
                    if let Some(live) = self.live.remove(&link) {
                        live.task.abort();
                    }
                }
                Output::Up(worker) => self.events.push_back(Event::Up(worker)),
                Output::Down(worker, why) => {
                    self.post.close(worker);
                    self.events.push_back(Event::Down(worker, why));
                }
            }
        }
    }

    fn dial(&mut self, link: Link, member: Member) {
        let connector = Connector::between_peers(&self.key, Pin(member.key));
        let (line, start) = self.line(link);
        self.spawn(link, start, async move {
            let dialed = match connector {
                Ok(connector) => dial::dial(&member.addresses, &connector).await,
                Err(error) => Err(error),
            };
            match dialed {
                Ok(stream) => line.meet_and_serve(stream, Some(true)).await,
                Err(why) => why,
            }
        });
    }

    fn greet(&mut self, link: Link) {
        let Some(mut stream) = self.accepted.remove(&link) else { return };
        let (line, start) = self.line(link);
        self.spawn(link, start, async move {
            let greeted = async {
                link::greet(&mut stream).await?;
                link::meet(&mut stream).await
            };
            match greeted.await {
                Ok(()) => line.meet_and_serve(stream, Some(false)).await,
                Err(why) => why,
            }
        });
    }

    fn start(&mut self, link: Link, worker: WorkerId) {
        if let Some(stream) = self.accepted.remove(&link) {
            let (line, start) = self.line(link);
            self.spawn(link, start, line.meet_and_serve(stream, None));
        }
        let Some(start) = self.live.get_mut(&link).and_then(|live| live.start.take()) else {
            return;
        };
        // Fails only when the connection has just ended, which is told next.
        let _ = start.send((worker, self.post.open(worker)));
    }

    fn line(&self, link: Link) -> (Line, oneshot::Sender<(WorkerId, Arc<Outbox>)>) {
        let (start_tx, start) = oneshot::channel();
        let (news, limits, codes) = (self.news_tx.clone(), self.limits.clone(), self.codes.clone());
        (Line { link, news, start, limits, codes }, start_tx)
    }

    fn spawn(
        &mut self,
        link: Link,
        start: oneshot::Sender<(WorkerId, Arc<Outbox>)>,
        serve: impl Future<Output = String> + Send + 'static,
    ) {
        let task = self.tasks.spawn(serve);
        self.names.insert(task.id(), link);
        self.live.insert(link, Live { task, start: Some(start) });
    }
}

/// What a connection's task has.
struct Line {
    link: Link,
    news: mpsc::Sender<(Link, News)>,
    start: oneshot::Receiver<(WorkerId, Arc<Outbox>)>,
    limits: Arc<Limits>,
    codes: Codes,
}

impl Line {
    /// Says that the first words were heard, if they were, and goes on when that is wanted.
    async fn meet_and_serve(self, stream: Stream, is_dialed: Option<bool>) -> String {
        let Line { link, news, start, limits, codes } = self;
        let over = || "it is not wanted any more".to_string();
        if let Some(is_dialed) = is_dialed
            && news.send((link, News::Met { is_dialed })).await.is_err()
        {
            return over();
        }
        let Ok((worker, outbox)) = start.await else { return over() };
        link::serve(stream, &outbox, &codes, &limits, &Ear { link, worker, news }).await
    }
}

/// The next who comes; never, if nobody is listened for.
async fn next_of(incoming: &mut Option<Incoming>) -> Option<Stream> {
    match incoming {
        // Incoming itself gives no errors.
        Some(incoming) => incoming.next().await.and_then(Result::ok),
        None => std::future::pending().await,
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

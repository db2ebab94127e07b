//! A client of a coordinator that says what it likes.

use lockstep_net::CREDENTIAL_KEY;
use lockstep_proto::wire::cluster_client::ClusterClient;
use lockstep_proto::wire::worker_message::Kind;
use lockstep_proto::wire::{
    CoordinatorMessage, Deal, Goodbye, Join, ShardRequest, WorkerMessage, coordinator_message,
};
use lockstep_proto::{PROTOCOL, VERSION};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::BinaryMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use crate::process::WAIT_MAX;

/// A client that says what it likes.
pub(crate) struct Peer {
    runtime: Runtime,
    client: ClusterClient<Channel>,
    /// What a member was given; said with every request for rows.
    pub(crate) credential: Option<BinaryMetadataValue>,
    /// As the welcome says.
    pub(crate) run_id: String,
    say: mpsc::Sender<WorkerMessage>,
    hear: Option<Streaming<CoordinatorMessage>>,
}

pub(crate) fn join() -> Join {
    Join {
        protocol: PROTOCOL,
        version: VERSION.to_string(),
        numeric_profile: lockstep_model::numeric_profile().to_string(),
        host: "hostile".to_string(),
        pid: 7,
        threads: 1,
        identity: vec![6; 16].into(),
        ..Join::default()
    }
}

impl Peer {
    /// Says this first. The status, if it is not let in.
    pub(crate) fn new(address: &str, first: Option<Kind>) -> Result<Peer, Status> {
        let address = format!("http://{address}");
        Peer::through(
            async { Endpoint::from_shared(address).unwrap().connect().await.unwrap() },
            first,
        )
    }

    /// The same on this channel.
    pub(crate) fn through(
        channel: impl Future<Output = Channel>,
        first: Option<Kind>,
    ) -> Result<Peer, Status> {
        let runtime = Runtime::new().unwrap();
        let (say, said) = mpsc::channel(16);
        let (client, hear) = runtime.block_on(async {
            let client = ClusterClient::new(channel.await);
            let mut client = client.max_encoding_message_size(usize::MAX);
            say.send(WorkerMessage { kind: first }).await.unwrap();
            let hear = client.train(ReceiverStream::new(said)).await;
            (client, hear)
        });
        let hear = hear?;
        let credential = hear.metadata().get_bin(CREDENTIAL_KEY).cloned();
        Ok(Peer {
            runtime,
            client,
            say,
            credential,
            run_id: String::new(),
            hear: Some(hear.into_inner()),
        })
    }

    /// A member.
    pub(crate) fn joined(address: &str) -> Peer {
        let mut peer = Peer::new(address, Some(Kind::Join(join()))).unwrap();
        let Ok(Some(coordinator_message::Kind::Welcome(welcome))) = peer.hear() else {
            panic!("no welcome")
        };
        peer.run_id = welcome.run_id;
        peer
    }

    /// A member that was dealt something.
    pub(crate) fn dealt(address: &str) -> (Peer, Deal) {
        let mut peer = Peer::joined(address);
        loop {
            match peer.hear().unwrap().unwrap() {
                coordinator_message::Kind::Prepare(span) => peer.say(Some(Kind::Prepared(span))),
                coordinator_message::Kind::Deal(deal) => return (peer, deal),
                _ => {}
            }
        }
    }

    /// Says goodbye, and waits until that is heard.
    pub(crate) fn leave(&mut self) {
        self.say(Some(Kind::Goodbye(Goodbye {})));
        self.end().unwrap();
    }

    pub(crate) fn say(&self, kind: Option<Kind>) {
        // Fails when the stream has ended, which is found by listening.
        let _ = self.runtime.block_on(self.say.send(WorkerMessage { kind }));
    }

    pub(crate) fn hear(&mut self) -> Result<Option<coordinator_message::Kind>, Status> {
        let hear = self.hear.as_mut().unwrap();
        let next = async { tokio::time::timeout(WAIT_MAX, hear.message()).await };
        let message = self.runtime.block_on(next).expect("the coordinator says something");
        Ok(message?.and_then(|message| message.kind))
    }

    /// How the stream ends.
    pub(crate) fn end(&mut self) -> Result<(), Status> {
        while self.hear()?.is_some() {}
        Ok(())
    }

    pub(crate) fn fetch(&mut self, request: ShardRequest) -> Result<(), Status> {
        let client = &mut self.client;
        let mut request = Request::new(request);
        if let Some(credential) = &self.credential {
            request.metadata_mut().insert_bin(CREDENTIAL_KEY, credential.clone());
        }
        self.runtime.block_on(async {
            let mut parts = client.fetch_shard(request).await?.into_inner();
            while parts.message().await?.is_some() {}
            Ok(())
        })
    }
}

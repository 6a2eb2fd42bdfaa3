//! Claims and records of meetings in Redis, through a replica's handle.

use std::time::Instant;

use zoom_qos_proxy::{
    cluster::{
        Claim, Claimed, Shared,
        keys::Subject,
        record::{self, Kind},
    },
    meeting_id::MeetingId,
    snapshot::{MeetingType, SnapshotKey},
};

pub fn key(number: u64) -> SnapshotKey {
    let meeting = MeetingId::parse(&format!("{number:011}")).unwrap();
    SnapshotKey { meeting, meeting_type: MeetingType::Live }
}

pub fn subject(number: u64) -> Subject {
    Subject::meeting(&key(number))
}

pub async fn claimed(shared: &Shared, of: &Subject) -> Claimed {
    match shared.claim(of, 0).await.unwrap() {
        Claim::Yours(claimed) => claimed,
        other => panic!("{other:?}"),
    }
}

pub fn bytes(shared: &Shared, of: &Subject, content: &[u8]) -> Vec<u8> {
    let now = shared.clock().unwrap().at(Instant::now());
    record::write(shared.sealer().as_deref(), of, Kind::Refusal, now, content).unwrap()
}

pub async fn content(shared: &Shared, of: &Subject) -> Option<Vec<u8>> {
    let found = shared.look_up(of).await.unwrap().record?;
    record::read(shared.sealer().as_deref(), of, &found).map(|record| record.body)
}

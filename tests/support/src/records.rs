//! Claims and records of meetings in Redis, through a replica's handle.

use std::time::Instant;

use zoom_qos_proxy::{
    cluster::{
        Claim, ClaimResult, Cluster,
        keys::RecordKey,
        record_codec::{self, RecordKind},
    },
    meeting_id::MeetingId,
    snapshot::{MeetingKind, MeetingType, SnapshotKey},
};

pub fn key(number: u64) -> SnapshotKey {
    let meeting = MeetingId::parse(&format!("{number:011}")).unwrap();
    SnapshotKey { meeting, kind: MeetingKind::Meeting, meeting_type: MeetingType::Live }
}

pub fn record_key(number: u64) -> RecordKey {
    RecordKey::meeting(&key(number))
}

pub async fn claimed(shared: &Cluster, of: &RecordKey) -> Claim {
    match shared.claim(of, 0).await.unwrap() {
        ClaimResult::Granted(claimed) => claimed,
        other => panic!("{other:?}"),
    }
}

pub fn bytes(shared: &Cluster, of: &RecordKey, content: &[u8]) -> Vec<u8> {
    let now = shared.clock().unwrap().at(Instant::now());
    record_codec::encode(shared.cipher().as_deref(), of, RecordKind::Refusal, now, content).unwrap()
}

pub async fn content(shared: &Cluster, of: &RecordKey) -> Option<Vec<u8>> {
    let found = shared.look_up(of).await.unwrap().record?;
    record_codec::decode(shared.cipher().as_deref(), of, &found).map(|record| record.content)
}

//! Small records in the distributed hash table, and the answers of Kademlia's queries. What a
//! record means and whose it is, is the owner's to check, also for those that others store here.

use std::collections::HashMap;
use std::time::Instant;

use libp2p::kad::store::RecordStore;
use libp2p::kad::{self, GetRecordError, GetRecordOk, InboundRequest, QueryId, QueryResult};
use tokio::sync::oneshot;

use super::Net;
use crate::config::RecordOffer;
use crate::error::RecordError;

type Found = Result<Vec<Vec<u8>>, RecordError>;

/// Queries under way, at most [`MAX_QUERIES`] of each kind.
#[derive(Debug, Default)]
pub(super) struct Records {
    puts: HashMap<QueryId, oneshot::Sender<Result<(), RecordError>>>,
    gets: HashMap<QueryId, (Vec<Vec<u8>>, oneshot::Sender<Found>)>,
}

// Throughout: whoever asked may have given up waiting, so a failed reply is nobody's loss.
impl Net {
    pub(super) fn put_record(
        &mut self,
        key: Vec<u8>,
        value: Vec<u8>,
        reply: oneshot::Sender<Result<(), RecordError>>,
    ) {
        if self.records.puts.len() >= MAX_QUERIES {
            let _ = reply.send(Err(RecordError::Busy));
            return;
        }
        let bytes = value.len();
        let kad = &mut self.swarm.behaviour_mut().kad;
        match kad.put_record(kad::Record::new(key, value), kad::Quorum::One) {
            Ok(query) => drop(self.records.puts.insert(query, reply)),
            Err(kad::store::Error::ValueTooLarge) => {
                let limit = self.limits.max_record_bytes;
                let _ = reply.send(Err(RecordError::TooLarge { bytes, limit }));
            }
            Err(kad::store::Error::MaxRecords | kad::store::Error::MaxProvidedKeys) => {
                let _ = reply.send(Err(RecordError::Busy));
            }
        }
    }

    pub(super) fn get_record(&mut self, key: Vec<u8>, reply: oneshot::Sender<Found>) {
        if self.records.gets.len() >= MAX_QUERIES {
            let _ = reply.send(Err(RecordError::Busy));
            return;
        }
        let query = self.swarm.behaviour_mut().kad.get_record(key.into());
        self.records.gets.insert(query, (Vec::new(), reply));
    }

    pub(super) fn on_kad(&mut self, event: kad::Event, now: Instant) {
        match event {
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                self.on_query(id, result, step.last, now);
            }
            kad::Event::InboundRequest {
                request: InboundRequest::PutRecord { record: Some(record), .. },
            } => self.store_record(record),
            kad::Event::RoutingUpdated { peer, addresses, .. } => {
                self.on_route(peer, addresses.iter(), now);
            }
            kad::Event::InboundRequest { .. }
            | kad::Event::UnroutablePeer { .. }
            | kad::Event::RoutablePeer { .. }
            | kad::Event::PendingRoutablePeer { .. }
            | kad::Event::ModeChanged { .. } => {}
        }
    }

    fn on_query(&mut self, id: QueryId, result: QueryResult, last: bool, now: Instant) {
        match result {
            QueryResult::PutRecord(result) => {
                if let Some(reply) = self.records.puts.remove(&id) {
                    let _ = reply.send(result.map(drop).map_err(|_| RecordError::Unconfirmed));
                }
            }
            QueryResult::GetRecord(result) => self.on_record(id, result, last),
            QueryResult::Bootstrap(result) => self.on_bootstrap(id, result.is_ok(), last),
            QueryResult::GetClosestPeers(result) => {
                let peers = match result {
                    Ok(found) => found.peers,
                    Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                self.on_closest_peers(id, &peers, now);
            }
            QueryResult::GetProviders(_)
            | QueryResult::StartProviding(_)
            | QueryResult::RepublishProvider(_)
            | QueryResult::RepublishRecord(_) => {}
        }
    }

    fn on_record(&mut self, id: QueryId, result: Result<GetRecordOk, GetRecordError>, last: bool) {
        let Some((mut values, reply)) = self.records.gets.remove(&id) else { return };
        let mut error = RecordError::NotFound;
        match result {
            Ok(GetRecordOk::FoundRecord(found)) => {
                let value = found.record.value;
                let fits = value.len() <= self.limits.max_record_bytes;
                if fits && values.len() < MAX_VALUES && !values.contains(&value) {
                    values.push(value);
                }
            }
            Ok(GetRecordOk::FinishedWithNoAdditionalRecord { .. }) => {}
            Err(GetRecordError::NotFound { .. }) => {}
            Err(GetRecordError::Timeout { .. }) => error = RecordError::Timeout,
        }
        if !last {
            self.records.gets.insert(id, (values, reply));
            return;
        }
        let _ = reply.send(if values.is_empty() { Err(error) } else { Ok(values) });
    }

    fn store_record(&mut self, record: kad::Record) {
        let kad = &mut self.swarm.behaviour_mut().kad;
        let held = kad.store_mut().get(&record.key).map(|held| held.value.clone());
        let (key, value) = (record.key.as_ref(), record.value.as_slice());
        let accepted = (self.accepts_record)(&RecordOffer { key, value, held: held.as_deref() });
        if !accepted || kad.store_mut().put(record).is_err() {
            self.counters.records_refused.add(1);
        }
    }
}

/// Queries of the owner that may be under way, of each kind.
const MAX_QUERIES: usize = 64;

/// Different values of one key that are handed out.
const MAX_VALUES: usize = 16;

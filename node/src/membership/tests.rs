//! Who may begin a committee, as far as a data directory knows.

use super::*;

const STORE: StoreId = StoreId([5; 16]);
const NEW_STORE: StoreId = StoreId([6; 16]);

/// A data directory and its key.
struct Place {
    dir: tempfile::TempDir,
    identity: Identity,
}

impl Place {
    fn new(seed: u8) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), identity: Identity::from_seed([seed; 32]) }
    }

    async fn settle(
        &self,
        joins: &[Join],
        store: StoreId,
        force_new_committee: bool,
    ) -> Result<Membership, MembershipError> {
        let (name, coordinator, patient) = (Some("lab"), true, false);
        let wish = Wish { joins, name, coordinator, store, force_new_committee, patient };
        settle(self.dir.path(), &self.identity, wish).await
    }

    fn kept(&self) -> Membership {
        read(&self.dir.path().join(FILE_NAME)).unwrap().expect("it was written")
    }
}

fn coordinators_invite() -> Join {
    let charter = Identity::from_seed([9; 32]);
    let network = Network::new("lab", charter.id()).unwrap();
    let ticket = Ticket::issue(&charter, &network, [3; 32], cyxwiz_protocol::UnixMillis(u64::MAX));
    let addresses = vec!["/ip4/127.0.0.1/tcp/9".to_owned()];
    Join::Invite(Box::new(Invite { network, addresses, ticket: Some(ticket) }))
}

#[tokio::test]
async fn a_network_of_ones_own_is_founded_once_for_the_store_that_is_there() {
    let place = Place::new(1);
    let id = place.identity.id();
    let first = place.settle(&[], STORE, false).await.unwrap();
    let founding = first.founding_of(id, STORE).expect("it founds");
    assert_eq!(founding.generation, 0);
    founding.verify(&first.network).unwrap();
    assert_eq!(place.kept(), first, "on disk before anything is told");
    assert_eq!(place.settle(&[], STORE, false).await.unwrap().founding, Some(founding));

    let lost = place.settle(&[], NEW_STORE, false).await.unwrap();
    assert_eq!(lost.founding_of(id, NEW_STORE), None, "never silently again");
    assert!(lost.has_lost_store(id, NEW_STORE) && !lost.has_lost_store(id, STORE));

    let forced = place.settle(&[], NEW_STORE, true).await.unwrap();
    assert_eq!(forced.founding_of(id, NEW_STORE).map(|it| it.generation), Some(1));
    assert_eq!(place.kept(), forced);
    let later = place.settle(&[], NEW_STORE, false).await.unwrap();
    assert_eq!(later.founding, forced.founding);
}

#[tokio::test]
async fn forced_without_knowledge_it_stands_above_what_may_have_been() {
    let place = Place::new(1);
    let forced = place.settle(&[], STORE, true).await.unwrap();
    assert_eq!(forced.founding.map(|it| it.generation), Some(1));
}

#[tokio::test]
async fn with_anothers_charter_it_waits_to_be_told_and_may_not_force() {
    let place = Place::new(2);
    let id = place.identity.id();
    let joins = [coordinators_invite()];
    let error = place.settle(&joins, STORE, true).await.unwrap_err();
    assert!(matches!(error, MembershipError::NotCharter { .. }), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("cyxwiz-bootstrap --force")));

    let joined = place.settle(&joins, STORE, false).await.unwrap();
    assert_eq!(joined.founding, None);
    assert_eq!(joined.holders, ["/ip4/127.0.0.1/tcp/9"]);
    let error = own_network(place.dir.path(), id).unwrap_err();
    assert!(matches!(error, MembershipError::NotCharter { .. }), "{error}");
    // A later start, without the invite, still knows whom to ask.
    assert_eq!(place.settle(&[], STORE, false).await.unwrap(), joined);

    let charter = Identity::from_seed([9; 32]);
    let founding = Founding::sign(&charter, &joined.network, (id, STORE), 0, unix_now());
    let told = Membership { founding: Some(founding), ..joined };
    told.keep(place.dir.path()).unwrap();
    let later = place.settle(&[], STORE, false).await.unwrap();
    assert_eq!(later.founding_of(id, STORE), Some(founding));
    assert!(place.settle(&[], NEW_STORE, false).await.unwrap().has_lost_store(id, NEW_STORE));
}

#[tokio::test]
async fn what_was_written_before_foundings_were_is_read() {
    let place = Place::new(1);
    let first = place.settle(&[], STORE, false).await.unwrap();
    let mut old = serde_json::to_value(&first).unwrap();
    let fields = old.as_object_mut().unwrap();
    fields.remove("founding");
    fields.remove("holders");
    let path = place.dir.path().join(FILE_NAME);
    std::fs::write(path, serde_json::to_vec(&old).unwrap()).unwrap();
    let again = place.settle(&[], STORE, false).await.unwrap();
    assert!(again.founding_of(place.identity.id(), STORE).is_some());
}

//! What a bootstrap peer prints: data on standard output, for people or for programs. Words go
//! to the log.

use std::io::{self, Write};

use crate::run::Announcement;

/// Prints announcements to standard output, as lines of text or of JSON.
pub fn printer(json: bool) -> impl FnMut(&Announcement) {
    move |announcement| {
        let text = if json { json_line(announcement) } else { lines(announcement) };
        let mut out = io::stdout().lock();
        if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // Nobody reads any more; the peer serves its network all the same.
            tracing::warn!(%error, "cannot print");
        }
    }
}

fn json_line(announcement: &Announcement) -> String {
    let mut line = serde_json::to_string(announcement).expect("strings and numbers are JSON");
    line.push('\n');
    line
}

fn lines(announcement: &Announcement) -> String {
    match announcement {
        Announcement::Listening { peer_id, addresses, invite, .. } => {
            let mut text = format!("peer     {peer_id}\n");
            for address in addresses {
                text.push_str(&format!("address  {address}\n"));
            }
            text.push_str(&format!("invite   {invite}\n"));
            text
        }
        Announcement::Health { url } => format!("health   {url}\n"),
        Announcement::NewCommittee { generation, .. } => format!("generation {generation}\n"),
        Announcement::Stopped => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_people_read_the_same_facts() {
        let listening = Announcement::Listening {
            peer_id: "12D3".to_owned(),
            network: "lab".to_owned(),
            addresses: vec!["/ip4/10.0.0.1/tcp/1/p2p/12D3".to_owned()],
            invite: "cyxwiz:lab:k@a".to_owned(),
            coordinator_invite_file: "/d/coordinator.invite".into(),
        };
        assert_eq!(
            lines(&listening),
            "peer     12D3\naddress  /ip4/10.0.0.1/tcp/1/p2p/12D3\ninvite   cyxwiz:lab:k@a\n"
        );
        let json: serde_json::Value = serde_json::from_str(&json_line(&listening)).unwrap();
        assert_eq!(json["event"], "listening");
        assert_eq!(json["invite"], "cyxwiz:lab:k@a");
        assert_eq!(json_line(&Announcement::Stopped), "{\"event\":\"stopped\"}\n");
    }
}

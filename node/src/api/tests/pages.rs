//! Long lists over the socket.

use p2p_api::testing::FakeNode;
use p2p_api::{NewZone, SetRecord, ZoneKind};

use super::scene::Scene;

/// More than two pages.
const RECORDS: usize = 2_500;

#[tokio::test]
async fn a_list_of_many_pages_comes_whole_through_the_client_and_in_pieces_by_hand() {
    let fake = FakeNode::new();
    let node = fake.node();
    let zone = NewZone { name: "long".into(), kind: ZoneKind::default(), key: None };
    node.names().create_zone(zone).await.expect("a zone");
    for n in 0..RECORDS {
        let set = SetRecord {
            zone: Some("long".into()),
            label: format!("label{n}"),
            record_type: "A".into(),
            value: "192.0.2.1".into(),
            expires_s: None,
            private: false,
            shadow: false,
        };
        node.names().set(set).await.expect("set");
    }
    let scene = Scene::new(node.clone(), Vec::new());
    let all = node.names().records(Some("long")).await.expect("records");
    assert_eq!(all.len(), RECORDS);
    let over_the_socket = scene.client().await.node().names().records(Some("long")).await.expect("records");
    assert!(over_the_socket == all);

    let mut labels = Vec::new();
    let mut cursor = String::new();
    let mut pages = 0;
    loop {
        let page = scene.ask(&format!("GET /v1/names/records?zone=long&limit=700{cursor}"), &[], "").await;
        let records: Vec<serde_json::Value> = serde_json::from_str(&page.body).expect("a list");
        assert!(records.len() <= 700);
        labels.extend(records.iter().map(|record| record["label"].as_str().expect("a label").to_owned()));
        pages += 1;
        // Headers are in lower case here, cursors are not.
        let Some(next) = page.raw_header("p2p-next-cursor") else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(pages, 4);
    assert!(labels.iter().eq(all.iter().map(|record| &record.label)));
    let whole = scene.ask("GET /v1/names/records?zone=long", &[], "").await;
    assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&whole.body).expect("a list").len(), RECORDS);
    assert_eq!(whole.header("p2p-next-cursor"), None);
    let nonsense = scene.ask("GET /v1/drives?limit=10&cursor=nonsense", &[], "").await;
    assert_eq!(nonsense.code(), "invalid_input");
    scene.end().await;
}

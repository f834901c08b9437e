//! The name system, call by call.

use async_trait::async_trait;
use http::Method;
use p2p_api::wire::encode_component;
use p2p_api::{
    ImportZoneFile, ImportedZoneFile, NameChange, NamesContract, NewZone, Published, RemoveRecords, RemovedZone,
    ResolveName, Resolved, Result, RevokeZone, Revoking, SetRecord, ZoneFile, ZoneInfo, ZoneRecord, ZoneRecords,
    ZoneSecretText, routes,
};

use crate::Client;

fn of_zone(route: &str, zone: &str) -> String {
    route.replace("{zone}", &encode_component(zone))
}

fn with_zone(route: &str, zone: Option<&str>) -> String {
    zone.map_or_else(|| route.to_owned(), |zone| format!("{route}?zone={}", encode_component(zone)))
}

#[async_trait]
impl NamesContract for Client {
    async fn zones(&self) -> Result<Vec<ZoneInfo>> {
        self.list(routes::ZONES).await
    }

    async fn create_zone(&self, new: NewZone) -> Result<ZoneInfo> {
        self.post(routes::ZONES, &new).await?.json().await
    }

    async fn remove_zone(&self, zone: &str, records: ZoneRecords) -> Result<RemovedZone> {
        let with_records = if records == ZoneRecords::Lose { "?with_records=true" } else { "" };
        let path = format!("{}{with_records}", of_zone(routes::ZONE, zone));
        self.call(Method::DELETE, &path).await?.json().await
    }

    async fn export_zone(&self, zone: &str) -> Result<ZoneSecretText> {
        self.call(Method::POST, &of_zone(routes::ZONE_EXPORT, zone)).await?.json().await
    }

    async fn zone_file(&self, zone: &str) -> Result<ZoneFile> {
        self.get(&of_zone(routes::ZONE_FILE, zone)).await?.json().await
    }

    async fn import_zone_file(&self, zone: &str, import: ImportZoneFile) -> Result<ImportedZoneFile> {
        self.post(&of_zone(routes::ZONE_FILE, zone), &import).await?.json().await
    }

    async fn revoke_zone(&self, zone: &str, revoke: RevokeZone) -> Result<Revoking> {
        self.post(&of_zone(routes::ZONE_REVOKE, zone), &revoke).await?.json().await
    }

    async fn set_record(&self, set: SetRecord) -> Result<NameChange> {
        self.post(routes::RECORDS, &set).await?.json().await
    }

    async fn remove_records(&self, remove: RemoveRecords) -> Result<NameChange> {
        self.post(routes::RECORDS_REMOVE, &remove).await?.json().await
    }

    async fn records(&self, zone: Option<&str>) -> Result<Vec<ZoneRecord>> {
        self.list(&with_zone(routes::RECORDS, zone)).await
    }

    async fn publish(&self, zone: Option<&str>) -> Result<Published> {
        self.call(Method::POST, &with_zone(routes::NAMES_PUBLISH, zone)).await?.json().await
    }

    async fn resolve(&self, resolve: ResolveName) -> Result<Resolved> {
        self.post(routes::RESOLVE, &resolve).await?.json().await
    }
}

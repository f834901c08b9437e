//! The names part of the contract.

use async_trait::async_trait;
use p2p_api::{
    ApiError, ErrorKind, ImportZoneFile, ImportedZoneFile, NameChange, NamesContract, NewZone, Published,
    RemoveRecords, RemovedZone, ResolveName, Resolved, Result, RevokeZone, Revoking, SetRecord, ZoneFile, ZoneInfo,
    ZoneRecord, ZoneRecords, ZoneSecretText,
};

use super::LocalNode;

#[async_trait]
impl NamesContract for LocalNode {
    async fn zones(&self) -> Result<Vec<ZoneInfo>> {
        self.names.zones().await
    }

    async fn create_zone(&self, new: NewZone) -> Result<ZoneInfo> {
        if self.people.has_contact(&new.name) {
            let message = format!("a contact is called {}, and names of theirs end in it", new.name);
            return Err(
                ApiError::new(ErrorKind::Conflict, message).with_hint("choose another name, or p2p contact rename")
            );
        }
        self.names.create_zone(new).await
    }

    async fn remove_zone(&self, zone: &str, records: ZoneRecords) -> Result<RemovedZone> {
        let removed = self.names.ztld_of(zone)?;
        if self.people.identity().await.is_ok_and(|identity| identity.ztld == removed) {
            let message = format!("the zone {zone} speaks for you: your contacts know you by it");
            return Err(ApiError::new(ErrorKind::Conflict, message)
                .with_hint("remove what is in it instead: p2p name rm LABEL"));
        }
        self.names.remove_zone(zone, records).await
    }

    async fn export_zone(&self, zone: &str) -> Result<ZoneSecretText> {
        self.names.export_zone(zone).await
    }

    async fn zone_file(&self, zone: &str) -> Result<ZoneFile> {
        self.names.zone_file(zone).await
    }

    async fn import_zone_file(&self, zone: &str, import: ImportZoneFile) -> Result<ImportedZoneFile> {
        self.names.import_zone_file(zone, import).await
    }

    async fn revoke_zone(&self, zone: &str, revoke: RevokeZone) -> Result<Revoking> {
        self.names.revoke(zone, revoke).await
    }

    async fn set_record(&self, set: SetRecord) -> Result<NameChange> {
        self.names.set(set).await
    }

    async fn remove_records(&self, remove: RemoveRecords) -> Result<NameChange> {
        self.names.remove(remove).await
    }

    async fn records(&self, zone: Option<&str>) -> Result<Vec<ZoneRecord>> {
        self.names.records(zone).await
    }

    async fn publish(&self, zone: Option<&str>) -> Result<Published> {
        self.names.publish(zone).await
    }

    async fn resolve(&self, resolve: ResolveName) -> Result<Resolved> {
        self.names.resolve(resolve).await
    }
}

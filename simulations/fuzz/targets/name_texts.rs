//! Names, values of records and zone files, as people paste them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use p2p_names::{
    ImportOptions, Label, Name, RecordType, ZoneKey, ZoneSecret, data_from_text, data_to_text, import_zone_file,
};

fuzz_target!(|text: &str| {
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.to_string().parse::<Name>().as_ref(), Ok(&name));
        let _ = name.to_dns();
    }
    let _ = text.parse::<Label>();
    if let Ok(zone) = text.parse::<ZoneKey>() {
        assert_eq!(zone.to_string().parse::<ZoneKey>().as_ref(), Ok(&zone));
    }
    let _ = ZoneSecret::from_gnunet_text(text);
    for record_type in RecordType::known() {
        if let Ok(data) = data_from_text(record_type, text) {
            let _ = data_to_text(record_type, &data);
        }
    }
    let _ = import_zone_file(text, &ImportOptions::default());
});

//! What is shipped for LibreNMS against the module: each value by the number that its name has, in the table that is walked,
//! in the unit that LibreNMS has for its class of sensors, with the states that there are.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const DISCOVERY: &str = include_str!("../../../../ops/monitoring/librenms/os_discovery/fluxoscope.yaml");
const DETECTION: &str = include_str!("../../../../ops/monitoring/librenms/os_detection/fluxoscope.yaml");

/// A sensor: its class, its keys, and for states their numbers, what they mean to LibreNMS, and their names.
struct Sensor {
    class: &'static str,
    keys: BTreeMap<&'static str, &'static str>,
    states: Vec<(u32, u32, &'static str)>,
}

/// `key: value`, without the quotation marks.
fn pair(text: &'static str) -> (&'static str, &'static str) {
    let (key, value) = text.split_once(':').unwrap();
    (key.trim(), value.trim().trim_matches('\''))
}

/// The sensors, told by how far lines are indented.
fn sensors() -> Vec<Sensor> {
    let (_, text) = DISCOVERY.split_once("\n    sensors:\n").unwrap();
    let (mut class, mut all) = ("", Vec::<Sensor>::new());
    for line in text.lines() {
        let content = line.trim_start();
        match (line.len() - content.len(), content) {
            (8, name) => class = name.strip_suffix(':').unwrap(),
            (12, "data:") | (20, "states:") => {}
            (16, "-") => all.push(Sensor { class, keys: BTreeMap::new(), states: Vec::new() }),
            (20, _) => {
                let (key, value) = pair(content);
                assert!(all.last_mut().unwrap().keys.insert(key, value).is_none(), "{line}");
            }
            (24, _) => {
                let inner = content.strip_prefix("- { ").and_then(|rest| rest.strip_suffix(" }")).unwrap();
                let keys: BTreeMap<_, _> = inner.split(", ").map(pair).collect();
                let number = |key| keys[key].parse::<u32>().unwrap();
                assert_eq!((keys.len(), number("graph")), (4, number("value")), "{line}");
                all.last_mut().unwrap().states.push((number("value"), number("generic"), keys["descr"]));
            }
            _ => panic!("{line}"),
        }
    }
    all
}

/// The UNITS clause of an object, where it has one.
fn units(name: &str) -> Option<&'static str> {
    let (_, object) = MIB.split_once(&format!("\n{name} OBJECT-TYPE")).unwrap();
    let (object, _) = object.split_once("MAX-ACCESS").unwrap();
    object.split_once("UNITS").map(|(_, units)| units.trim().trim_matches('"'))
}

#[test]
fn sensors_of_librenms_are_what_the_module_says() {
    let words = words();
    let (objects, nodes) = module(&words);
    let dotted = |oid: &[u32]| oid.iter().map(|arc| format!(".{arc}")).collect::<String>();
    let mut indexes = BTreeSet::new();
    let sensors = sensors();
    assert_eq!(sensors.len(), DISCOVERY.matches("num_oid").count());
    for Sensor { class, keys, states } in &sensors {
        let value = keys["value"];
        let object = &objects[value];
        assert_eq!(keys["num_oid"], dotted(&oid(&nodes, value)) + ".{{ $index }}", "{value}");
        assert_eq!(keys["oid"], objects[object.parent].parent, "{value}: the table that is walked");
        // What describes it is in the same row.
        for part in keys["descr"].split("{{ $").skip(1) {
            let (name, _) = part.split_once(" }}").unwrap();
            assert_eq!(objects[name].parent, object.parent, "{name}");
        }
        assert!(
            keys["index"].ends_with(".{{ $index }}") && indexes.insert(keys["index"]),
            "{}",
            keys["index"]
        );
        // Classes have units: percent, and minutes of what runs.
        let divisor = keys.get("divisor").copied();
        match (*class, units(value)) {
            ("percent", Some("percent")) | ("state", None) | ("count", Some(_)) => assert_eq!(divisor, None),
            ("runtime", Some("seconds")) => assert_eq!(divisor, Some("60")),
            other => panic!("{value}: {other:?}"),
        }
        let is_counter = object.syntax.starts_with("Counter");
        assert_eq!(keys.get("rrd_type").copied(), is_counter.then_some("COUNTER"), "{value}");
        // Ok(0), warning(1), critical(2), unknown(3).
        assert!(states.iter().all(|(_, generic, _)| *generic <= 3));
        let names: Vec<String> = states.iter().map(|(number, _, name)| format!("{name}({number})")).collect();
        let is_state = *class == "state";
        assert_eq!(object.syntax.starts_with("INTEGER {"), is_state, "{value}");
        if is_state {
            assert_eq!(object.syntax, format!("INTEGER {{ {} }}", names.join(", ")), "{value}");
            assert_eq!(keys["state_name"], value);
        }
    }
    // It is found by its sysObjectID, and shows its version.
    let product = dotted(&oid(&nodes, "fluxoscope"));
    assert!(DETECTION.lines().any(|line| line.trim() == format!("- {product}")), "{product}");
    assert!(
        DISCOVERY.contains("version: FLUXOSCOPE-MIB::fluxVersion.0\n") && objects.contains_key("fluxVersion")
    );
}

//! The tables, as diesel knows them: only types that both dialects have.
#![allow(
    missing_docs,
    reason = "the columns are those of schema/*/up.sql, and described in ledger/records.rs"
)]

diesel::table! {
    name (kind, number) {
        kind -> Text,
        number -> BigInt,
        #[sql_name = "name"]
        text -> Text,
    }
}

diesel::table! {
    source (id) {
        id -> BigInt,
        kind -> Text,
        key -> Text,
        position -> BigInt,
        complete -> Bool,
        flushes -> BigInt,
        expired_sets -> BigInt,
        expired_set_octets -> BigInt,
        second_flows -> BigInt,
    }
}

diesel::table! {
    source_total (source) {
        source -> BigInt,
        datagrams -> BigInt,
        malformed -> BigInt,
        duplicates -> BigInt,
        records -> BigInt,
        options_records -> BigInt,
        raw_octets -> BigInt,
        metered_records -> BigInt,
        metered_octets -> BigInt,
        metered_packets -> BigInt,
        expired_records -> BigInt,
        expired_octets -> BigInt,
        not_volume -> BigInt,
        duplicate_observations -> BigInt,
        duplicate_observation_octets -> BigInt,
        lost -> BigInt,
    }
}

diesel::table! {
    usage (bucket, customer, link, direction, class, family, exporter, rate_numerator, rate_denominator, rate_source) {
        bucket -> BigInt,
        customer -> BigInt,
        link -> Integer,
        direction -> Integer,
        class -> Integer,
        family -> Integer,
        exporter -> Integer,
        rate_numerator -> BigInt,
        rate_denominator -> BigInt,
        rate_source -> Integer,
        octets -> BigInt,
        packets -> BigInt,
        flows -> BigInt,
        squares_low -> BigInt,
        squares_high -> BigInt,
    }
}

diesel::table! {
    usage_series (id) {
        id -> BigInt,
        link -> Integer,
        direction -> Integer,
        class -> Integer,
        family -> Integer,
        exporter -> Integer,
        rate_numerator -> BigInt,
        rate_denominator -> BigInt,
        rate_source -> Integer,
    }
}

diesel::table! {
    checkpoint (scope, exporter) {
        scope -> BigInt,
        exporter -> Text,
        state -> Binary,
    }
}

diesel::table! {
    hold_chunk (scope, exporter, number) {
        scope -> BigInt,
        exporter -> Text,
        number -> BigInt,
        records -> Binary,
    }
}

diesel::table! {
    config_version (number) {
        number -> BigInt,
        sha256 -> Text,
        text -> Text,
        valid_from -> BigInt,
    }
}

diesel::table! {
    tariff_version (id, version) {
        id -> Text,
        version -> BigInt,
        toml -> Text,
        sha256 -> Text,
        effective -> Text,
        activated_at -> BigInt,
        activated_by -> Text,
    }
}

diesel::table! {
    invoice (number) {
        number -> Text,
        period -> Text,
        customer -> Text,
        state -> Text,
        currency -> Text,
        gross_minor -> BigInt,
        document -> Text,
        sha256 -> Text,
    }
}

diesel::table! {
    account (number) {
        number -> BigInt,
        kind -> Text,
        name -> Text,
    }
}

diesel::table! {
    entry (seq) {
        seq -> BigInt,
        kind -> Text,
        key -> Text,
        day -> Text,
        reference -> Text,
        digest -> Text,
        at -> BigInt,
        made_by -> Text,
        postings -> BigInt,
        prev -> Text,
        hash -> Text,
    }
}

diesel::table! {
    posting (entry, line) {
        entry -> BigInt,
        line -> BigInt,
        account -> BigInt,
        commodity -> Text,
        amount -> BigInt,
    }
}

diesel::table! {
    closed (customer) {
        customer -> BigInt,
        until -> BigInt,
    }
}

diesel::table! {
    decision (seq) {
        seq -> BigInt,
        kind -> Text,
        customer -> BigInt,
        bucket -> BigInt,
        earlier -> BigInt,
        reason -> Text,
        at -> BigInt,
        made_by -> Text,
        prev -> Text,
        hash -> Text,
    }
}

diesel::table! {
    closure (customer, period) {
        customer -> BigInt,
        period -> Text,
        from_bucket -> BigInt,
        until_bucket -> BigInt,
        tariff -> Text,
        tariff_version -> BigInt,
        root -> Text,
        entry -> BigInt,
    }
}

diesel::table! {
    late_usage (carried, bucket, customer, link, direction, class, family, exporter, rate_numerator, rate_denominator, rate_source) {
        carried -> BigInt,
        bucket -> BigInt,
        customer -> BigInt,
        link -> Integer,
        direction -> Integer,
        class -> Integer,
        family -> Integer,
        exporter -> Integer,
        rate_numerator -> BigInt,
        rate_denominator -> BigInt,
        rate_source -> Integer,
        octets -> BigInt,
        packets -> BigInt,
        flows -> BigInt,
        squares_low -> BigInt,
        squares_high -> BigInt,
    }
}

diesel::table! {
    issue (number) {
        number -> Text,
        series -> Text,
        place -> BigInt,
        kind -> Text,
        corrects -> Text,
        entry -> BigInt,
    }
}

diesel::table! {
    delivery (number) {
        number -> Text,
        at -> BigInt,
        made_by -> Text,
    }
}

diesel::table! {
    exporter_loss (exporter, day) {
        exporter -> Text,
        day -> BigInt,
        records -> BigInt,
        lost -> BigInt,
    }
}

diesel::table! {
    billing_done (customer, period) {
        customer -> Text,
        period -> Text,
        stage -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    asset (sha256) {
        sha256 -> Text,
        media -> Text,
        content -> Binary,
    }
}

diesel::table! {
    alert (customer, period, part, charge, level) {
        customer -> Text,
        period -> Text,
        part -> BigInt,
        charge -> Text,
        level -> Text,
        at -> BigInt,
        message -> Text,
        told -> Nullable<BigInt>,
    }
}

diesel::table! {
    interface (exporter, ifindex, valid_from) {
        exporter -> Integer,
        ifindex -> BigInt,
        valid_from -> BigInt,
        present -> Bool,
        name -> Text,
        description -> Text,
        alias -> Text,
        speed -> BigInt,
        kind -> BigInt,
    }
}

diesel::table! {
    interface_octets (bucket, exporter, ifindex, from_ms) {
        bucket -> BigInt,
        exporter -> Integer,
        ifindex -> BigInt,
        from_ms -> BigInt,
        to_ms -> BigInt,
        in_octets -> BigInt,
        out_octets -> BigInt,
        in_packets -> Nullable<BigInt>,
        out_packets -> Nullable<BigInt>,
    }
}

diesel::table! {
    interface_octets_seal (bucket, exporter) {
        bucket -> BigInt,
        exporter -> Integer,
        hash -> Text,
    }
}

diesel::table! {
    card_failures (exporter, card, at) {
        exporter -> Integer,
        card -> BigInt,
        at -> BigInt,
        name -> Text,
        utilisation -> Nullable<BigInt>,
        active -> Nullable<BigInt>,
        capacity -> Nullable<BigInt>,
        failures -> BigInt,
    }
}

diesel::table! {
    correction (seq) {
        seq -> BigInt,
        from_bucket -> BigInt,
        until_bucket -> BigInt,
        config -> Text,
        reason -> Text,
        at -> BigInt,
        made_by -> Text,
        changes -> BigInt,
        root -> Text,
        prev -> Text,
        hash -> Text,
    }
}

diesel::table! {
    correction_row (bucket, customer, series, carried, correction) {
        bucket -> BigInt,
        customer -> BigInt,
        series -> BigInt,
        carried -> BigInt,
        correction -> BigInt,
        octets -> BigInt,
        packets -> BigInt,
        flows -> BigInt,
        squares_low -> BigInt,
        squares_high -> BigInt,
    }
}

diesel::table! {
    witness (seq) {
        seq -> BigInt,
        kind -> Text,
        subject -> Text,
        digest -> Text,
        prev -> Text,
        hash -> Text,
    }
}

diesel::table! {
    source_seal (source) {
        source -> BigInt,
        hash -> Text,
    }
}

diesel::table! {
    anchor (entry) {
        entry -> BigInt,
        witnesses -> BigInt,
        decisions -> BigInt,
    }
}

diesel::allow_tables_to_appear_in_same_query!(source, source_total);
diesel::allow_tables_to_appear_in_same_query!(posting, account);
diesel::allow_tables_to_appear_in_same_query!(issue, entry);
diesel::allow_tables_to_appear_in_same_query!(invoice, issue);

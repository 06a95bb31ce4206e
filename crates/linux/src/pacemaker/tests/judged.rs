//! Looks at a real pair, captured from Pacemaker 2.1.5: ctl-b takes ctl-a over, and so on. The history of operations is left
//! out of the files; nothing reads it.

use std::path::Path;
use std::time::Duration;

use evenkeel_model::{
    FenceDevice, LifName, MemberHa, NodeName, Storage, TransitionId, TransitionStage,
};
use evenkeel_platform::GivebackRequest;

use crate::{Call, Programs as _, SystemPrograms};

use super::super::layout::Members;
use super::super::seen::{Doubt, Seen};
use super::super::steps::{self, Duty, Step};
use super::super::{cib::Cib, fencing, layout, monitor::Monitor, vetoes, witness, xml};

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn text(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pacemaker");
    std::fs::read_to_string(folder.join(file)).unwrap()
}

fn seen_by(local: &str, partner: &str, cib: &str, monitor: &str) -> Result<Seen, String> {
    let members = Members {
        local: name(local),
        partner: name(partner),
    };
    let read = xml::parse("cibadmin", cib.as_bytes(), Cib::read).map_err(|e| e.to_string())?;
    let monitor = xml::parse("crm_mon", monitor.as_bytes(), Monitor::read);
    Seen::new(
        members,
        (read, cib.to_owned()),
        monitor.map_err(|e| e.to_string())?,
    )
}

/// As ctl-b sees it.
fn look(state: &str) -> Seen {
    altered(state, |text| text)
}

/// The same, with something else in the configuration or the state.
fn altered(state: &str, alter: impl Fn(String) -> String) -> Seen {
    let cib = alter(text(&format!("{state}.cib.xml")));
    let monitor = alter(text(&format!("{state}.crm_mon.xml")));
    seen_by("ctl-b", "ctl-a", &cib, &monitor).unwrap()
}

fn veto(seen: &Seen) -> String {
    seen.pair().takeover_veto.expect("a veto")
}

#[test]
fn a_healthy_pair_has_no_veto() {
    let seen = look("healthy");
    let pair = seen.pair();
    assert!(pair.enabled);
    assert_eq!(
        (pair.local.ha, pair.partner.ha),
        (MemberHa::Serving, MemberHa::Serving)
    );
    assert!(pair.local.boot_id.is_some() && pair.local.boot_id != pair.partner.boot_id);
    assert_eq!(
        (pair.takeover_veto, pair.giveback_veto, pair.transition),
        (None, None, None)
    );
}

#[test]
fn pools_are_groups_and_services_with_a_home_and_addresses_are_lifs() {
    let seen = look("healthy");
    let pools = seen.layout.pools.iter();
    let pools: Vec<_> = pools
        .map(|pool| (pool.name.as_str(), pool.home.as_str(), pool.root))
        .collect();
    assert_eq!(
        pools,
        [
            ("a_root", "ctl-a", true),
            ("a_data", "ctl-a", false),
            ("b_root", "ctl-b", true),
            ("b_data", "ctl-b", false)
        ]
    );
    let lifs = seen.lifs();
    let lifs: Vec<_> = lifs
        .iter()
        .map(|lif| (lif.name.as_str(), lif.home.as_str()))
        .collect();
    assert_eq!(
        lifs,
        [("lif_a", "ctl-a"), ("lif_b", "ctl-b"), ("lif_b2", "ctl-b")]
    );
    assert!(
        seen.lifs()
            .iter()
            .all(|lif| lif.current.as_ref() == Some(&lif.home))
    );
    assert!(seen.lifs().iter().all(|lif| lif.has_failover_target));
}

#[test]
fn without_a_word_the_group_of_highest_priority_is_the_root() {
    let unsaid = |text: String| {
        text.replace("evenkeel-root", "priority").replace(
            "value=\"true\"/>\n        </meta",
            "value=\"7\"/>\n        </meta",
        )
    };
    let seen = altered("healthy", unsaid);
    let roots: Vec<bool> = seen.layout.pools.iter().map(|pool| pool.root).collect();
    assert_eq!(roots, [true, false, true, false]);
    let seen = altered("healthy", |text| {
        text.replace("evenkeel-root", "some-other")
    });
    assert!(!seen.layout.pools.iter().any(|pool| pool.root));
}

#[test]
fn a_takeover_of_ours_is_told_from_its_begin_to_its_end() {
    let stages = [
        (
            "taking",
            MemberHa::WaitingForGiveback,
            TransitionStage::TakingOver,
            false,
        ),
        (
            "carried",
            MemberHa::WaitingForGiveback,
            TransitionStage::TakingOver,
            false,
        ),
        ("left", MemberHa::Down, TransitionStage::TakenOver, true),
        (
            "joined",
            MemberHa::Booting,
            TransitionStage::TakenOver,
            true,
        ),
        (
            "waiting",
            MemberHa::WaitingForGiveback,
            TransitionStage::TakenOver,
            true,
        ),
        (
            "partial",
            MemberHa::PartialGiveback,
            TransitionStage::GivingBack,
            true,
        ),
        (
            "given_back",
            MemberHa::Serving,
            TransitionStage::GivenBack,
            true,
        ),
    ];
    let first = look("healthy").pair().partner.boot_id;
    for (state, ha, stage, clean) in stages {
        let pair = look(state).pair();
        let transition = pair.transition.expect(state);
        assert_eq!(pair.partner.ha, ha, "{state}");
        assert_eq!(
            (transition.stage, transition.clean),
            (stage, clean),
            "{state}"
        );
        assert!(transition.id.is_some(), "{state}");
        assert_eq!(transition.boot_before, first, "{state}");
        assert_eq!(
            (transition.taken, transition.by),
            (name("ctl-a"), name("ctl-b"))
        );
        assert_eq!(pair.local.ha, MemberHa::Serving, "{state}");
        let away = stage != TransitionStage::GivenBack;
        assert_eq!(
            pair.takeover_veto.is_some(),
            away,
            "{state}: {:?}",
            pair.takeover_veto
        );
    }
    assert_eq!(look("waiting").pair().giveback_veto, None);
    assert_ne!(look("waiting").pair().partner.boot_id, first);
}

#[test]
fn a_standby_by_hand_is_not_ours_though_an_older_takeover_was() {
    let pair = look("by_hand").pair();
    let transition = pair.transition.unwrap();
    assert_eq!(
        (transition.id, transition.stage),
        (None, TransitionStage::TakenOver)
    );
    assert_eq!(pair.partner.ha, MemberHa::WaitingForGiveback);
}

#[test]
fn a_node_is_fenced_only_with_proof_that_is_newer_than_its_boot() {
    assert_eq!(look("unclean").pair().partner.ha, MemberHa::Down);
    let seen = look("fenced");
    assert_eq!(seen.pair().partner.ha, MemberHa::Fenced);
    let transition = seen.pair().transition.unwrap();
    assert_eq!((transition.id, transition.clean), (None, false));
    assert_eq!(transition.stage, TransitionStage::TakenOver);
    // The same fencing, seen by the boot that came after it: what is gone now has left by itself.
    let stamp = seen.newest_fencing(&name("ctl-a")).unwrap();
    let seen = altered("fenced", |text| {
        text.replace("fenced=never", &format!("fenced={stamp}"))
    });
    assert_eq!(seen.pair().partner.ha, MemberHa::Down);
    let seen = altered("fenced", |text| text.replace("evenkeel-life", "some-other"));
    assert_eq!(seen.pair().partner.ha, MemberHa::Down);
    let seen = altered("fenced", |text| {
        text.replace("status=\"success\"", "status=\"failed\"")
    });
    assert_eq!(seen.pair().partner.ha, MemberHa::Down);
}

#[test]
fn vetoes_say_what_to_do() {
    let cases = [
        ("maintenance", "maintenance-mode"),
        ("failed", "crm_resource --cleanup"),
        ("moved", "crm_resource --clear -r a_data"),
        (
            "by_hand",
            "and not by Evenkeel: ctl-b serves for it; end that with `crm_standby -N ctl-a -D`",
        ),
        (
            "booting",
            "ctl-b does not serve its own pools: it is booting",
        ),
    ];
    for (state, words) in cases {
        let seen = look(state);
        assert!(veto(&seen).contains(words), "{state}: {}", veto(&seen));
        assert!(!seen.pair().takeover_veto_passes, "{state}");
    }
    assert!(!look("maintenance").pair().enabled);
    let moved = look("moved").pair().giveback_veto.unwrap();
    assert!(moved.contains("cli-prefer-a_data"), "{moved}");
}

#[test]
fn what_is_wrong_with_the_cluster_is_a_veto() {
    let cases: [(&str, &str, &str); 6] = [
        (
            "with_quorum=\"true\"",
            "with_quorum=\"false\"",
            "without quorum",
        ),
        (
            "stonith-enabled=\"true\"",
            "stonith-enabled=\"false\"",
            "fencing is switched off",
        ),
        (
            "name=\"pcmk_host_list\" value=\"ctl-a\"",
            "name=\"pcmk_host_list\" value=\"x\"",
            "no fence device",
        ),
        (
            "name=\"resource-stickiness\" value=\"0\"",
            "name=\"resource-stickiness\" value=\"50\"",
            "would not come home",
        ),
        (
            "managed=\"true\" failed=\"false\" failure_ignored=\"false\" nodes_running_on=\"1\"",
            "managed=\"false\" failed=\"false\" failure_ignored=\"false\" nodes_running_on=\"1\"",
            "is not managed",
        ),
        (
            "maintenance=\"false\" pending",
            "maintenance=\"true\" pending",
            "is in maintenance",
        ),
    ];
    for (from, to, words) in cases {
        let seen = altered("healthy", |text| text.replace(from, to));
        assert!(veto(&seen).contains(words), "{words}: {}", veto(&seen));
        assert!(!seen.pair().takeover_veto_passes, "{words}");
    }
}

#[test]
fn what_passes_by_itself_is_said_to_pass() {
    let cases = [
        (
            "current_dc present=\"true\"",
            "current_dc present=\"false\"",
            "no designated controller",
        ),
        (
            "  <bans>",
            "  <fence_history><fence_event action=\"off\" target=\"ctl-a\" status=\"pending\"/></fence_history><bans>",
            "is being fenced",
        ),
    ];
    for (from, to, words) in cases {
        let pair = altered("healthy", |text| text.replace(from, to)).pair();
        assert!(
            pair.takeover_veto
                .as_ref()
                .is_some_and(|why| why.contains(words)),
            "{pair:?}"
        );
        assert!(pair.takeover_veto_passes, "{words}");
    }
    let failed = "  <fence_history><fence_event action=\"off\" target=\"ctl-a\" status=\"failed\"/></fence_history><bans>";
    let pair = altered("healthy", |text| text.replace("  <bans>", failed)).pair();
    assert!(
        pair.takeover_veto
            .unwrap()
            .contains("stonith_admin --cleanup")
    );
    let silent = "  <fence_history status=\"124\"/><bans>";
    let pair = altered("healthy", |text| text.replace("  <bans>", silent)).pair();
    assert!(
        pair.takeover_veto
            .unwrap()
            .contains("did not tell its history")
    );
}

#[test]
fn a_pool_that_the_taker_may_not_run_is_a_veto_and_a_lif_without_a_target_is_said() {
    let ban = |resource: &str| {
        let ban = format!(
            "<bans><ban id=\"no-{resource}\" resource=\"{resource}\" node=\"ctl-b\" promoted-only=\"false\"/>"
        );
        move |text: String| text.replace("<bans>", &ban)
    };
    let seen = altered("healthy", ban("a_data"));
    assert!(veto(&seen).contains("a_data may not run on ctl-b by constraint no-a_data"));
    let seen = altered("healthy", ban("lif_a"));
    assert!(!seen.lifs()[0].has_failover_target);
}

#[test]
fn a_pool_that_is_banned_from_its_home_still_belongs_there() {
    let ban = "<constraints><rsc_location id=\"cli-ban-a_data-on-ctl-a\" rsc=\"a_data\" node=\"ctl-a\" score=\"-INFINITY\"/>";
    let seen = altered("healthy", |text| text.replace("<constraints>", ban));
    let pool = &seen.layout.pools[1];
    assert_eq!(
        (pool.name.as_str(), pool.home.as_str()),
        ("a_data", "ctl-a")
    );
    assert!(
        veto(&seen).contains("crm_resource --clear -r a_data"),
        "{}",
        veto(&seen)
    );
}

#[test]
fn duties_follow_from_the_takeover() {
    let by_a = |state: &str| {
        let (cib, monitor) = (
            text(&format!("{state}.cib.xml")),
            text(&format!("{state}.crm_mon.xml")),
        );
        seen_by("ctl-a", "ctl-b", &cib, &monitor).unwrap()
    };
    let boot = |seen: &Seen| seen.boot(&name("ctl-a")).unwrap();
    let healthy = by_a("healthy");
    let old = boot(&healthy);
    assert_eq!(steps::duty(&healthy, old), Duty::Nothing);
    assert!(matches!(
        steps::duty(&by_a("taking"), old),
        Duty::TakeBack(unserved) if unserved.doubt == Doubt::Moves
    ));
    assert!(matches!(steps::duty(&by_a("carried"), old), Duty::Leave(_)));
    let waiting = by_a("waiting");
    assert_eq!(steps::duty(&waiting, boot(&waiting)), Duty::Nothing);
    // A boot that was not told yet is noted first, and told then.
    assert!(matches!(
        steps::duty(&by_a("joined"), boot(&waiting)),
        Duty::Note(_)
    ));
    let noted = text("waiting.cib.xml").replace("name=\"evenkeel-boot\"", "name=\"x\"");
    let noted = seen_by("ctl-a", "ctl-b", &noted, &text("waiting.crm_mon.xml")).unwrap();
    assert_eq!(steps::duty(&noted, boot(&waiting)), Duty::TellBoot);
}

#[test]
fn fencing_is_told_by_its_device() {
    let state = fencing::state(&look("healthy")).unwrap();
    assert!(state.enabled);
    assert_eq!(state.tested_s_ago, Some(30));
    let FenceDevice::Other { name, answers } = state.device else {
        panic!("{state:?}")
    };
    assert_eq!((name.as_str(), answers), ("fence-ctl-a", true));
    let ipmi = |text: String| text.replace("fence_evenkeel", "fence_ipmilan");
    let state = fencing::state(&altered("healthy", ipmi)).unwrap();
    assert_eq!(state.device, FenceDevice::ServiceProcessor);
    let stopped = |text: String| {
        text.replace(
            "<resource id=\"fence-ctl-a\" resource_agent=\"stonith:fence_evenkeel\" role=\"Started\" active=\"true\"",
            "<resource id=\"fence-ctl-a\" resource_agent=\"stonith:fence_evenkeel\" role=\"Stopped\" active=\"false\"",
        )
    };
    let state = fencing::state(&altered("healthy", stopped)).unwrap();
    assert_eq!(state.tested_s_ago, None);
}

#[test]
fn a_quorum_device_is_unknown_rather_than_guessed() {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(witness::state(&[pair("quorum.two_node", "1")]), Ok(None));
    let device = [
        pair("quorum.device.model", "net"),
        pair("quorum.device.net.host", "q"),
    ];
    let why = witness::state(&device).unwrap_err();
    assert!(
        why.is_transient() && why.to_string().contains("quorum device q"),
        "{why}"
    );
}

#[test]
fn storage_is_read_from_the_agents_parameters() {
    let zfs = |text: String| {
        text.replace("type=\"Dummy\"", "type=\"ZFS\"")
            .replace("name=\"state\"", "name=\"pool\"")
    };
    let seen = altered("healthy", zfs);
    let pool = "/run/a_root_disk.state".to_owned();
    assert_eq!(seen.layout.pools[0].storage, [Storage::Zfs { pool }]);
}

#[test]
fn what_cannot_be_read_is_unavailable_and_names_the_program() {
    for output in [
        "",
        "no xml",
        "<cib/>",
        "<cib epoch=\"x\" admin_epoch=\"0\" num_updates=\"0\"><configuration/></cib>",
    ] {
        let error = xml::parse("cibadmin", output.as_bytes(), Cib::read).unwrap_err();
        assert!(
            error.is_transient() && error.to_string().contains("cibadmin"),
            "{error}"
        );
    }
    let error = seen_by(
        "ctl-b",
        "ctl-x",
        &text("healthy.cib.xml"),
        &text("healthy.crm_mon.xml"),
    );
    assert!(error.unwrap_err().contains("no node ctl-x"));
}

/// A mark that a later release has written.
fn later_mark(text: String) -> String {
    text.replace("stage=standing", "stage=what")
}

#[test]
fn a_mark_of_a_later_release_is_a_veto_and_hides_nothing_else() {
    let seen = altered("waiting", later_mark);
    let pair = seen.pair();
    assert_eq!(pair.partner.ha, MemberHa::WaitingForGiveback);
    for veto in [pair.takeover_veto, pair.giveback_veto] {
        let veto = veto.unwrap();
        assert!(veto.contains("evenkeel-transition of ctl-a"), "{veto}");
        assert!(veto.contains("a later release of Evenkeel"), "{veto}");
    }
    let request = GivebackRequest {
        id: TransitionId(uuid::Uuid::nil()),
        pool: None,
    };
    let step = steps::give_back(&seen, &request);
    assert!(
        matches!(&step, Step::Refuse(why) if why.contains("evenkeel-transition")),
        "{step:?}"
    );
    // The node's own boot is told and noted all the same.
    let (cib, monitor) = (
        later_mark(text("joined.cib.xml")),
        text("joined.crm_mon.xml"),
    );
    let joined = seen_by("ctl-a", "ctl-b", &cib, &monitor).unwrap();
    let own = look("waiting").boot(&name("ctl-a")).unwrap();
    assert!(matches!(steps::duty(&joined, own), Duty::Note(_)));
}

#[test]
fn what_cannot_be_named_or_weighed_is_a_veto_and_hides_nothing_else() {
    let long = "x".repeat(70);
    let renamed = |id: &str, to: &str| {
        let (id, to) = (format!("\"{id}\""), format!("\"{to}\""));
        move |text: String| text.replace(&id, &to)
    };
    type Alter<'a> = &'a dyn Fn(String) -> String;
    let cases: [(&str, Alter<'_>, &str); 3] = [
        ("a long id", &renamed("a_data", &long), "cannot be a pool"),
        (
            "an id that is not ASCII",
            &renamed("lif_b2", "lif_\u{e4}"),
            "cannot be a LIF",
        ),
        (
            "a score",
            &|text: String| text.replacen("score=\"100\"", "score=\"very\"", 1),
            "has the score \"very\", which is none",
        ),
    ];
    for (case, alter, words) in cases {
        let seen = altered("healthy", alter);
        assert!(veto(&seen).contains(words), "{case}: {}", veto(&seen));
        let announced = seen.pair().giveback_veto.unwrap();
        assert!(announced.contains(words), "{case}: {announced}");
        assert!(seen.layout.pools.len() >= 3 && !seen.layout.lifs.is_empty());
        // What is taken over already goes home.
        let waiting = altered("waiting", alter);
        assert_eq!(vetoes::giveback(&waiting), None, "{case}");
    }
}

#[test]
fn a_lone_lif_that_would_not_move_is_a_veto_before_anything_does() {
    let by_a = |alter: &dyn Fn(String) -> String| {
        let (cib, monitor) = (text("healthy.cib.xml"), text("healthy.crm_mon.xml"));
        seen_by("ctl-a", "ctl-b", &alter(cib), &alter(monitor)).unwrap()
    };
    let sticky = |text: String| {
        let meta =
            "<primitive id=\"lif_b2\" class=\"ocf\" provider=\"heartbeat\" type=\"IPaddr2\">";
        let own = format!(
            "{meta}<meta_attributes id=\"s\"><nvpair id=\"sv\" name=\"resource-stickiness\" value=\"200\"/></meta_attributes>"
        );
        text.replace(meta, &own)
    };
    let seen = by_a(&sticky);
    assert!(veto(&seen).contains("lif_b2 would not come home to ctl-b"));
    let announced = seen.pair().giveback_veto.unwrap();
    assert!(
        announced.contains("lif_b2 would not come home"),
        "{announced}"
    );
    let ban = |node: &'static str| {
        move |text: String| {
            let ban = format!(
                "<bans><ban id=\"no\" resource=\"lif_b2\" node=\"{node}\" promoted-only=\"false\"/>"
            );
            text.replace("<bans>", &ban)
        }
    };
    let words = veto(&by_a(&ban("ctl-a")));
    assert!(
        words.contains("lif_b2 may not run on ctl-a by constraint no"),
        "{words}"
    );
    let announced = by_a(&ban("ctl-b")).pair().giveback_veto.unwrap();
    assert!(
        announced.contains("lif_b2 may not run on ctl-b"),
        "{announced}"
    );
}

#[test]
fn what_is_written_once_and_used_by_its_id_is_followed() {
    let (plain, made) = (
        look("healthy"),
        altered("healthy", |text| {
            let address = "class=\"ocf\" provider=\"heartbeat\" type=\"IPaddr2\"";
            let root = "<meta_attributes id=\"b_root-m\">\n          <nvpair id=\"b_root-root\" name=\"evenkeel-root\" value=\"true\"/>\n        </meta_attributes>";
            let monitor = "<operations>\n          <op id=\"fence-ctl-b-monitor\" name=\"monitor\" interval=\"30s\" timeout=\"20s\"/>\n        </operations>";
            let used = [
                (address, "template=\"address\""),
                (root, "<meta_attributes id-ref=\"a_root-m\"/>"),
                (monitor, "<operations id-ref=\"fence-ops\"/>"),
                (
                    "<operations>\n          <op id=\"fence-ctl-a",
                    "<operations id=\"fence-ops\">\n          <op id=\"fence-ctl-a",
                ),
            ];
            if !text.contains("<cib ") {
                return text;
            }
            let text = used.into_iter().fold(text, |text, (plain, used)| {
                assert!(text.contains(plain), "{plain}");
                text.replace(plain, used)
            });
            let template = format!("<resources><template id=\"address\" {address}/>");
            text.replace("<resources>", &template)
        }),
    );
    assert_eq!(made.layout, plain.layout);
    assert_eq!(made.cib.resources.len(), plain.cib.resources.len());
    for node in ["ctl-a", "ctl-b"] {
        let node = name(node);
        assert_eq!(
            fencing::devices(&made, &node),
            fencing::devices(&plain, &node)
        );
    }
}

#[test]
fn a_template_says_what_its_primitives_do_not() {
    let cib = "<cib epoch=\"1\" admin_epoch=\"0\" num_updates=\"0\"><configuration><resources>\
        <template id=\"t\" class=\"stonith\" type=\"fence_ipmilan\">\
        <instance_attributes id=\"ti\"><nvpair id=\"1\" name=\"ip\" value=\"t\"/><nvpair id=\"2\" name=\"user\" value=\"t\"/></instance_attributes>\
        <operations><op id=\"o\" name=\"monitor\" interval=\"2min\"/></operations></template>\
        <primitive id=\"p\" template=\"t\"><instance_attributes id=\"pi\"><nvpair id=\"3\" name=\"ip\" value=\"p\"/>\
        <nvpair id-ref=\"2\" name=\"login\"/></instance_attributes></primitive>\
        </resources></configuration></cib>";
    let cib = xml::parse("cibadmin", cib.as_bytes(), Cib::read).unwrap();
    let [only] = cib.resources.as_slice() else {
        panic!("{:?}", cib.resources)
    };
    let [primitive] = only.primitives() else {
        panic!("{only:?}")
    };
    assert!(primitive.is_fence());
    assert_eq!(primitive.agent, "fence_ipmilan");
    assert_eq!(primitive.monitored_every_s, Some(120));
    let said: Vec<_> = primitive.parameters.iter().collect();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = [pair("ip", "p"), pair("login", "t"), pair("user", "t")];
    assert_eq!(
        said,
        expected.iter().map(|(n, v)| (n, v)).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn programs_tell_the_time_of_one_zone() {
    let call = Call::new("printenv", ["TZ"], Duration::from_secs(10));
    let finished = SystemPrograms.run(&call).await.unwrap();
    assert_eq!(finished.output, b"UTC\n");
}

#[test]
fn a_fencing_in_another_zone_or_finer_is_the_same_fencing() {
    let noted = |text: String| text.replace("fenced=never", "fenced=2026-11-30T21:36:02Z");
    for told in [
        "2026-11-30 22:36:02 +01:00",
        "2026-11-30 21:36:02.987654Z",
        "2026-11-30 22:36:02.5+01:00",
    ] {
        let seen = altered("fenced", |text| {
            noted(text).replace("2026-11-30 21:36:02Z", told)
        });
        assert_eq!(seen.pair().partner.ha, MemberHa::Down, "{told}");
    }
    let seen = altered("fenced", |text| {
        text.replace("2026-11-30 21:36:02Z", "2026-11-30 21:36:02")
    });
    assert_eq!(
        seen.pair().partner.ha,
        MemberHa::Down,
        "a local time proves nothing"
    );
    assert!(seen.monitor.fences.is_err());
}

#[test]
fn what_must_be_together_goes_together() {
    let tied = |text: String| {
        text.replace(
            "<constraints>",
            "<constraints><rsc_colocation id=\"t\" rsc=\"lif_b2\" with-rsc=\"b_data\" score=\"INFINITY\"/>",
        )
    };
    let seen = altered("healthy", tied);
    let layout: &layout::Layout = &seen.layout;
    assert!(layout.are_together("b_data", "lif_b2") && !layout.are_together("b_data", "b_root"));
    let lif = layout
        .lifs
        .iter()
        .find(|lif| lif.name.as_str() == "lif_b2")
        .unwrap();
    assert_eq!(lif.pool.as_ref().unwrap().as_str(), "b_data");
    let step = steps::send_home(&look("waiting"), &LifName::new("lif_a").unwrap());
    assert!(
        matches!(&step, Step::Refuse(why) if why.contains("does not serve")),
        "{step:?}"
    );
    let step = steps::send_home(&look("healthy"), &LifName::new("nope").unwrap());
    assert!(matches!(step, Step::Refuse(_)));
}

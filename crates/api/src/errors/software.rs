//! Errors of updates and validations.

use super::{Call, at_once, in_job, never};
use crate::Code;

pub(super) const PATCH_CLUSTER_SOFTWARE: Call = Call {
    name: "PATCH /cluster/software",
    errors: &[
        at_once(
            Code::NoVersion,
            "crates/rest/tests/rest/changes.rs::a_wrong_patch_is_refused_and_changes_nothing",
        ),
        at_once(
            Code::FieldConflict,
            "crates/rest/tests/rest/changes.rs::a_wrong_patch_is_refused_and_changes_nothing",
        ),
        at_once(
            Code::CannotSet,
            "crates/rest/tests/rest/changes.rs::a_wrong_patch_is_refused_and_changes_nothing",
        ),
        at_once(
            Code::NotInBody,
            "crates/rest/tests/rest/changes.rs::a_wrong_patch_is_refused_and_changes_nothing",
        ),
        at_once(
            Code::InvalidField,
            "crates/rest/tests/rest/changes.rs::a_wrong_patch_is_refused_and_changes_nothing",
        ),
        at_once(
            Code::UnexpectedArgument,
            "crates/rest/tests/rest/changes.rs::a_wrong_patch_is_refused_and_changes_nothing",
        ),
        at_once(
            Code::BadValue,
            "crates/rest/tests/rest/changes.rs::a_wrong_patch_is_refused_and_changes_nothing",
        ),
        at_once(
            Code::NoUpdateFound,
            "crates/rest/tests/rest/refused.rs::an_action_that_does_not_fit_the_updates_state_is_refused",
        ),
        at_once(
            Code::NoUpdateToPause,
            "crates/rest/tests/rest/refused.rs::an_action_that_does_not_fit_the_updates_state_is_refused",
        ),
        at_once(
            Code::NotPaused,
            "crates/rest/tests/rest/refused.rs::an_action_that_does_not_fit_the_updates_state_is_refused",
        ),
        at_once(
            Code::CannotCancelNow,
            "crates/rest/tests/rest/refused.rs::an_action_that_does_not_fit_the_updates_state_is_refused",
        ),
        at_once(
            Code::PauseBeforeCancel,
            "crates/rest/tests/rest/refused.rs::an_action_that_does_not_fit_the_updates_state_is_refused",
        ),
        at_once(
            Code::BadActionForState,
            "crates/rest/tests/rest/refused.rs::an_action_that_does_not_fit_the_updates_state_is_refused",
        ),
        at_once(
            Code::StoreEmpty,
            "crates/rest/tests/rest/refused.rs::a_package_that_is_not_there_is_told_from_a_store_without_any",
        ),
        at_once(
            Code::NoPackage,
            "crates/rest/tests/rest/refused.rs::a_package_that_is_not_there_is_told_from_a_store_without_any",
        ),
        at_once(
            Code::CannotCreateTask,
            "crates/rest/tests/rest/refused.rs::without_the_record_nothing_is_begun",
        ),
        at_once(
            Code::PackageBeingDeleted,
            "crates/rest/tests/rest/refused.rs::what_is_under_way_excludes_the_rest",
        ),
        at_once(
            Code::UpdateInProgress,
            "crates/rest/tests/rest/refused.rs::what_is_under_way_excludes_the_rest",
        ),
        at_once(
            Code::ValidationInProgress,
            "crates/rest/tests/rest/refused.rs::what_is_under_way_excludes_the_rest",
        ),
        at_once(
            Code::SyncInProgress,
            "crates/rest/tests/rest/refused.rs::what_is_under_way_excludes_the_rest",
        ),
        at_once(
            Code::NodesNotPairs,
            "tests/python/test_conformance.py::test_choosing_nodes",
        ),
        at_once(
            Code::AlreadyAtVersion,
            "crates/simulation/tests/simulation/operator.rs::actions_in_wrong_states_are_refused_and_change_nothing",
        ),
        at_once(
            Code::NotThisConfiguration,
            "tests/python/test_sites.py::test_sites_are_shown_and_not_updated",
        ),
        in_job(
            Code::ValidationWarnings,
            "crates/planner/tests/planner/walks.rs::an_update_is_refused_before_any_effect",
        ),
        in_job(
            Code::ValidationFailed,
            "crates/planner/tests/planner/walks.rs::an_update_is_refused_before_any_effect",
        ),
        never(
            10551298,
            "The pause failed for an internal reason.",
            "A pause is one recorded event: it is accepted, or 10551320 says why not.",
        ),
        never(
            10551304,
            "The cancel failed for an internal reason.",
            "A cancel is one recorded event: it is accepted, or 10551320 says why not.",
        ),
        never(
            10551319,
            "The update could not be prepared.",
            "Trouble before any effect is a finding of the validation: 10551396.",
        ),
        never(
            10551353,
            "The pre-update validation failed for an internal reason.",
            "A check that cannot run is a finding, an error: 10551396.",
        ),
        never(
            10551391,
            "The update failed for an internal reason.",
            "After the first effect trouble pauses the update: state paused_on_error, with node, error and action.",
        ),
        never(
            10551434,
            "The options are invalid for a resume.",
            "262186 names the option.",
        ),
        never(
            10551564,
            "A MetroCluster case.",
            "A cluster that spans sites is refused as a whole, with 10551558.",
        ),
        never(
            10551565,
            "A MetroCluster case.",
            "A cluster that spans sites is refused as a whole, with 10551558.",
        ),
        never(
            10551566,
            "A MetroCluster case.",
            "A cluster that spans sites is refused as a whole, with 10551558.",
        ),
        never(
            10551567,
            "A MetroCluster case.",
            "A cluster that spans sites is refused as a whole, with 10551558.",
        ),
        never(
            10551573,
            "A MetroCluster case.",
            "A cluster that spans sites is refused as a whole, with 10551558.",
        ),
        never(
            10551574,
            "A MetroCluster case.",
            "A cluster that spans sites is refused as a whole, with 10551558.",
        ),
        never(
            10551592,
            "A MetroCluster case.",
            "A cluster that spans sites is refused as a whole, with 10551558.",
        ),
        never(
            10551720,
            "A MetroCluster case.",
            "A cluster that spans sites is refused as a whole, with 10551558.",
        ),
        never(
            2424933,
            "A MetroCluster case.",
            "A cluster that spans sites is refused as a whole, with 10551558.",
        ),
        never(
            2424998,
            "A MetroCluster case.",
            "A cluster that spans sites is refused as a whole, with 10551558.",
        ),
        never(
            2425737,
            "A MetroCluster case.",
            "A cluster that spans sites is refused as a whole, with 10551558.",
        ),
        never(
            10551572,
            "The status of the update cannot be had.",
            "The status is folded from the record, on every node.",
        ),
        never(
            10551599,
            "The package of a two-step update is missing.",
            "There are no two-step updates: a package lists the versions it takes, and a validation finds any other.",
        ),
        never(
            10551602,
            "A two-step update is not supported.",
            "There are no two-step updates: a package lists the versions it takes, and a validation finds any other.",
        ),
        never(
            10551606,
            "The update needs a higher effective cluster version.",
            "A package lists the versions it takes, and a validation finds any other.",
        ),
        never(
            10551643,
            "A controller is being replaced.",
            "Controllers are not replaced through this API.",
        ),
        never(
            10551718,
            "Run a validation first.",
            "An update validates by itself.",
        ),
        never(
            10551719,
            "The results of the validation are too old.",
            "An update validates by itself.",
        ),
        never(
            10551724,
            "Another version was validated.",
            "An update validates by itself.",
        ),
        never(10551837, "An AutoSupport case.", "There is no AutoSupport."),
        never(10551840, "An AutoSupport case.", "There is no AutoSupport."),
        never(10551841, "An AutoSupport case.", "There is no AutoSupport."),
        never(
            10551859,
            "The package repository and its backup cannot be reached.",
            "Every node has its own copies of the packages; a node without one is a finding: 10551396.",
        ),
        never(
            10551897,
            "All nodes are already at this version.",
            "10551854 says it.",
        ),
        never(
            10551898,
            "The list of nodes to update is wrong.",
            "262197 names the node that does not exist, 10551368 the pair that is torn apart.",
        ),
        never(
            10551899,
            "A case of skip_nodes_at_target_version.",
            "The option is of a later API; nodes that are at the version are left out anyway.",
        ),
        never(
            10551900,
            "A case of skip_nodes_at_target_version.",
            "The option is of a later API; nodes that are at the version are left out anyway.",
        ),
        never(
            10551901,
            "A case of skip_nodes_at_target_version.",
            "The option is of a later API; nodes that are at the version are left out anyway.",
        ),
        never(
            10551902,
            "A case of skip_nodes_at_target_version.",
            "The option is of a later API; nodes that are at the version are left out anyway.",
        ),
        never(
            10551908,
            "A case of skip_nodes_at_target_version.",
            "The option is of a later API; nodes that are at the version are left out anyway.",
        ),
        never(
            13303864,
            "SnapMirror is busy.",
            "Running transfers are a finding of the validation: 10551395 or 10551396.",
        ),
    ],
};

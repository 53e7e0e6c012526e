"""Names, spelt out: the table is the documentation of the rules."""

import pytest

from airflow_provider_drchrono import catalog
from airflow_provider_drchrono.codegen import naming
from airflow_provider_drchrono.codegen.plan import plan


@pytest.mark.parametrize(
    ("operation_id", "expected"),
    [
        ("patients_list", "DrChronoListPatientsOperator"),
        ("patients_read", "DrChronoGetPatientOperator"),
        ("patients_create", "DrChronoCreatePatientOperator"),
        ("patients_partial_update", "DrChronoUpdatePatientOperator"),
        ("patients_update", "DrChronoReplacePatientOperator"),
        ("patients_delete", "DrChronoDeletePatientOperator"),
        ("allergies_list", "DrChronoListAllergiesOperator"),
        ("eobs_list", "DrChronoListEOBsOperator"),
        ("eobs_read", "DrChronoGetEOBOperator"),
        ("fee_schedules_v2_list", "DrChronoListFeeSchedulesV2Operator"),
        ("doctor_options_list", "DrChronoListDoctorOptionsOperator"),
        ("doctor_options_read", "DrChronoGetDoctorOptionsOperator"),
        ("audit_log_list", "DrChronoListAuditLogEntriesOperator"),
        ("line_items_list_create", "DrChronoCreateLineItemsListOperator"),
        ("line_items_list_list", "DrChronoGetLineItemsListOperator"),
        ("clinical_notes_list_create", "DrChronoCreateClinicalNotesBatchOperator"),
        ("clinical_notes_list_list", "DrChronoGetClinicalNotesBatchOperator"),
        ("appointments_list_create", "DrChronoCreateAppointmentsListOperator"),
        ("appointments_list_list", "DrChronoListAppointmentsListEntriesOperator"),
        ("availability", "DrChronoGetAvailabilityOperator"),
        ("daysheet_charges_list", "DrChronoGetDaySheetChargesOperator"),
        ("day_sheet_patient_payments_list", "DrChronoGetDaySheetPatientPaymentsOperator"),
        ("patients_ccda", "DrChronoGetPatientCcdaOperator"),
        ("patients_ccda_async", "DrChronoRequestPatientCcdaOperator"),
        ("patients_qrda1", "DrChronoGetPatientQrda1Operator"),
        ("patients_onpatient_access_read", "DrChronoGetOnPatientAccessOperator"),
        ("patients_onpatient_access_create", "DrChronoSendOnPatientInviteOperator"),
        ("patients_onpatient_access_delete", "DrChronoRevokeOnPatientInviteOperator"),
        ("consent_forms_apply_to_appointment", "DrChronoApplyConsentFormOperator"),
        ("consent_forms_unapply_from_appointment", "DrChronoUnapplyConsentFormOperator"),
        ("medications_append_to_pharmacy_note", "DrChronoAppendToPharmacyNoteOperator"),
        ("offices_add_exam_room", "DrChronoAddExamRoomOperator"),
        ("yellow_notepad_retrieve", "DrChronoGetYellowNotepadOperator"),
        ("yellow_notepad_create", "DrChronoCreateYellowNotepadOperator"),
        ("schedule_blocks_update", "DrChronoReplaceScheduleBlockOperator"),
        ("users_read", "DrChronoGetUserOperator"),
    ],
)
def test_class_names(operation_id: str, expected: str) -> None:
    facts = catalog.load()
    operation = facts.operation(operation_id)

    stem = naming.operation_stem(operation, facts.resource(operation.resource))

    assert naming.class_name(stem) == expected


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("patients", "patient_id"),
        ("lab_orders", "lab_order_id"),
        ("eobs", "eob_id"),
        ("fee_schedules_v2", "fee_schedule_v2_id"),
        ("staff", "staff_member_id"),
        pytest.param("tasks", "drchrono_task_id", id="tasks-whose-task_id-belongs-to-Airflow"),
    ],
)
def test_id_arguments(resource: str, expected: str) -> None:
    assert naming.id_argument(catalog.load().resource(resource)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ListPatients", "list_patients"),
        ("GetEOB", "get_eob"),
        ("ListEOBs", "list_eobs"),
        ("GetFeeScheduleV2", "get_fee_schedule_v2"),
        ("SendOnPatientInvite", "send_on_patient_invite"),
    ],
)
def test_task_ids_of_examples(name: str, expected: str) -> None:
    assert naming.snake_of_camel(name) == expected


def test_every_operation_has_a_class_name_of_its_own() -> None:
    operators = plan(catalog.load()).operators

    assert len({each.class_name for each in operators}) == len(operators)
    assert len({each.operation.id for each in operators}) == 331


def test_a_name_that_comes_twice_is_refused() -> None:
    with pytest.raises(naming.NameClashError, match="two"):
        naming.ensure_unique(["one", "two", "two"])


def test_no_special_name_is_kept_for_an_operation_that_is_gone() -> None:
    assert {*naming.SPECIAL, *naming.SPECIAL_RESULTS} <= set(catalog.load().operations)

"""The fixed lists that synthetic people, places and things are named from; no entry is a real person or address."""

from __future__ import annotations

FIRST_NAMES = {
    "Female": (
        "Ada", "Beatrix", "Clementine", "Delphine", "Edith", "Fern", "Greta", "Hazel", "Imogen", "Juniper", "Kestrel",
        "Linnea", "Marigold", "Nell", "Opal", "Petra", "Quilla", "Rosalind", "Sabine", "Thea", "Una", "Verity", "Willa",
    ),
    "Male": (
        "Alder", "Basil", "Caspian", "Dexter", "Emrys", "Fergus", "Gideon", "Hugo", "Ignatius", "Jasper", "Kit", "Lars",
        "Magnus", "Nolan", "Otis", "Percy", "Quentin", "Rufus", "Silas", "Tobias", "Ulric", "Vaughn", "Wendell",
    ),
}  # fmt: skip
LAST_NAMES = (
    "Applecross", "Birchwater", "Copperfield", "Dunmere", "Elderberry", "Foxglove", "Greystone", "Hawthorne",
    "Inkwell", "Juniperus", "Kingfisher", "Larkspur", "Merriweather", "Nightingale", "Oakenshaw", "Pennyroyal",
    "Quicksilver", "Ravenscroft", "Silverthorn", "Thistledown", "Underhill", "Vinterberg", "Wolfsbane", "Yarrow",
)  # fmt: skip
STREETS = ("Sample Street", "Placeholder Avenue", "Fixture Lane", "Mock Road", "Specimen Way", "Example Boulevard")
CITIES = (
    ("Testville", "NY", "10001"), ("Mocksbury", "NJ", "07001"), ("Sampleton", "CT", "06001"),
    ("Fixture Falls", "PA", "19001"), ("Port Placeholder", "MA", "02101"),
)  # fmt: skip
REASONS = (
    "Annual physical", "Follow-up", "Medication review", "New patient visit", "Back pain", "Cough and cold",
    "Blood pressure check", "Vaccination", "Lab review", "Skin check",
)  # fmt: skip
PROCEDURES = (
    ("99213", "Office visit, established patient, low complexity", 9500),
    ("99214", "Office visit, established patient, moderate complexity", 14000),
    ("99203", "Office visit, new patient, low complexity", 12500),
    ("93000", "Electrocardiogram with interpretation", 6200),
    ("85025", "Complete blood count", 2400),
    ("80053", "Comprehensive metabolic panel", 3100),
    ("90471", "Immunization administration", 2800),
    ("36415", "Routine venipuncture", 1200),
)
DIAGNOSES = ("I10", "E11.9", "J06.9", "M54.50", "Z00.00", "E78.5", "F41.1", "K21.9")
PAYERS = (
    ("SBX01", "Example Mutual", "NY"), ("SBX02", "Placeholder Health Plan", "NJ"), ("SBX03", "Sample Shield", "CT"),
    ("SBX04", "Mock Medicare Advantage", "PA"), ("SBX05", "Fixture Family Care", "MA"),
)  # fmt: skip
DRUGS = (
    ("Lisinopril 10 MG Oral Tablet", "314076"), ("Metformin 500 MG Oral Tablet", "861007"),
    ("Atorvastatin 20 MG Oral Tablet", "617310"), ("Amoxicillin 500 MG Oral Capsule", "308191"),
)  # fmt: skip
PROBLEMS = (
    ("Essential hypertension", "I10", "59621000"), ("Type 2 diabetes mellitus", "E11.9", "44054006"),
    ("Seasonal allergic rhinitis", "J30.2", "367498001"), ("Low back pain", "M54.50", "279039007"),
)  # fmt: skip
"""Name, ICD-10-CM and SNOMED CT."""
ALLERGENS = (
    ("Penicillin", "91936005"), ("Peanut", "91935009"), ("Latex", "300916003"), ("Bee venom", "424213003"),
    ("Sulfonamide", "91939003"),
)  # fmt: skip
"""Name, and SNOMED CT of the allergy to it."""
VACCINES = (("Influenza, injectable", "158"), ("Tdap", "115"), ("Hepatitis B", "43"), ("MMR", "03"))
PLANS = (
    ("Exercise education", "304507003"), ("Dietary regime", "182922004"), ("Smoking cessation education", "225323000"),
)  # fmt: skip
COMMUNICATIONS = (("Clinical consultation report", "371530004"),)
EXAMS = (("Systolic blood pressure", "8480-6"), ("Body mass index", "39156-5"))
ASSESSMENTS = (("Adult depression screening assessment", "73832-8"),)
LAB_TESTS = (
    ("Hemoglobin A1c", "4548-4", "%", "4.0-5.6"), ("Glucose", "2345-7", "mg/dL", "70-99"),
    ("Potassium", "2823-3", "mmol/L", "3.5-5.1"), ("TSH", "3016-3", "mIU/L", "0.4-4.0"),
)  # fmt: skip
TASK_TITLES = (
    "Call back about results", "Verify insurance", "Send referral", "Prepare prior authorization", "Order supplies",
    "Schedule follow-up", "Scan incoming fax", "Review unsigned note",
)  # fmt: skip
NOTES = (
    "Left a voicemail.", "Spoke with the front desk.", "Waiting for the payer.", "Done, nothing further.",
    "Asked to call again next week.", "Forms sent by mail.",
)  # fmt: skip
SENTENCES = (
    "Synthetic entry for testing.", "Entered by the sandbox.", "No real person is described here.",
    "Sample text without meaning.",
)  # fmt: skip
COLORS = ("#2f7ed8", "#8bbc21", "#910000", "#1aadce", "#492970", "#f28f43")

"""face_recognition 1.3.0 (dlib: HOG detector, 5-point alignment, ResNet-29), as its README uses it."""

import face_recognition

from benchmarks.contenders.loop import answer


def compare(a: str, b: str) -> tuple[float, dict[str, float]]:
    first, second = (face_recognition.face_encodings(face_recognition.load_image_file(file))[0] for file in (a, b))
    return float(((first - second) ** 2).sum()), {}


answer(compare)

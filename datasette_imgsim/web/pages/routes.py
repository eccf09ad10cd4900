"""The URLs of the views."""

from . import duplicates, gallery, groups, map, pictures, similar, tiles, upload, uploaded, why

_TABLE = r"^/(?P<database>[^/]+)/(?P<table>[^/]+)/-/imgsim"
# A key may be an empty text.
_ID = r"(?P<id>[^/.]*)"
_PLACE = r"(?P<z>\d{1,2})/(?P<x>\d{1,9})/(?P<y>\d{1,9})"
_TOKEN = r"(?P<token>[^/.]+)"
_OTHER = r"(?P<other>[^/.]*)"
_OVERLAY = rf"{_OTHER}/(?P<picture>first|second)\.png$"
_FORMAT = r"(?P<format>\.json)?$"

ROUTES = [
    (_TABLE + _FORMAT, gallery.gallery),
    (_TABLE + rf"/similar/{_ID}" + _FORMAT, similar.similar),
    (_TABLE + r"/map" + _FORMAT, map.map),
    (_TABLE + r"/duplicates" + _FORMAT, duplicates.duplicates),
    (_TABLE + r"/groups" + _FORMAT, groups.groups),
    (_TABLE + rf"/tiles/{_PLACE}(?P<retina>@2x)?\.jpg$", tiles.tile),
    (_TABLE + r"/search" + _FORMAT, upload.search),
    (_TABLE + r"/upload$", upload.upload),
    (_TABLE + rf"/upload/{_TOKEN}" + _FORMAT, uploaded.uploaded),
    (_TABLE + rf"/upload/{_TOKEN}\.jpg$", uploaded.thumbnail),
    (_TABLE + rf"/why/{_ID}/{_OTHER}" + _FORMAT, why.why),
    (_TABLE + rf"/why/{_ID}/{_OVERLAY}", why.overlay),
    (_TABLE + rf"/upload/{_TOKEN}/why/{_OTHER}" + _FORMAT, why.uploaded_why),
    (_TABLE + rf"/upload/{_TOKEN}/why/{_OVERLAY}", why.uploaded_overlay),
    (_TABLE + rf"/thumbnail/{_ID}\.jpg$", pictures.thumbnail),
    (_TABLE + rf"/large/{_ID}\.jpg$", pictures.large),
]
